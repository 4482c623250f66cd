//! NetworkService: looks after the master data.

mod location;
mod policy;
mod preview;
mod quota;
mod recall;

use tonic::{Request, Response, Status};

use crate::{
    access::Caller,
    api::{
        Api,
        authorise::caller,
        error::{invalid, unknown},
        movements::deadline,
        network::{
            location::{closed_for_good, closed_out, location_in, status_in},
            policy::{name_unknown, policy_in, put_by, version_mismatch},
        },
        page,
        proto::{
            self, BlockItemRequest, BlockItemResponse, CloseLocationRequest, CloseLocationResponse,
            GetChannelPolicyRequest, GetChannelPolicyResponse, GetChannelRequest,
            GetChannelResponse, GetItemRequest, GetItemResponse, GetLocationRequest,
            GetLocationResponse, ListChannelPoliciesRequest, ListChannelPoliciesResponse,
            ListChannelPolicyVersionsRequest, ListChannelPolicyVersionsResponse,
            ListChannelsRequest, ListChannelsResponse, ListItemsRequest, ListItemsResponse,
            ListLocationsRequest, ListLocationsResponse, ListQuotasRequest, ListQuotasResponse,
            PreviewChannelPolicyRequest, PreviewChannelPolicyResponse, PutChannelPolicyRequest,
            PutChannelPolicyResponse, PutChannelRequest, PutChannelResponse, PutItemRequest,
            PutItemResponse, PutLocationRequest, PutLocationResponse, PutQuotasRequest,
            PutQuotasResponse, SetLocationStatusRequest, SetLocationStatusResponse,
            UnblockItemRequest, UnblockItemResponse, network_service_server::NetworkService,
        },
        reach::{
            check_channel, check_every_channel, check_every_location, check_location,
            check_put_channel, check_put_location,
        },
        wire::time_out,
    },
    ledger::{
        Ledger,
        network::{Channel, Item, PutBy, PutItem, PutPolicy},
    },
    stock::{
        ids::{is_identifier, is_sku},
        network::{GTINS_MAX, is_gtin, is_name},
    },
};

const IDENTIFIER: &str = "must match [A-Za-z0-9._:/-]{1,64}";
const NAME: &str = "must be at most 200 characters without control characters";
const LOCATIONS: &str = "locations";
const CHANNELS: &str = "channels";
const POLICIES: &str = "policies";
const ITEMS: &str = "items";

impl Api {
    /// The ledger, which notes who changes the network through it.
    pub(super) fn acting_for(&self, caller: &Caller) -> Ledger {
        self.ledger.acting_for(&caller.acting(String::new()))
    }
}

#[tonic::async_trait]
impl NetworkService for Api {
    async fn put_location(
        &self,
        request: Request<PutLocationRequest>,
    ) -> Result<Response<PutLocationResponse>, Status> {
        let caller = caller(&request);
        let location = location_in(request.into_inner().location.unwrap_or_default())?;
        check_put_location(&caller, &location.location_id)?;
        let location = self.acting_for(&caller).put_location(location).await?;
        Ok(Response::new(PutLocationResponse { location: Some(location.into()) }))
    }

    async fn get_location(
        &self,
        request: Request<GetLocationRequest>,
    ) -> Result<Response<GetLocationResponse>, Status> {
        let caller = caller(&request);
        let id = identifier(request.into_inner().location_id, "location_id")?;
        check_location(&caller, &id)?;
        let location = self.ledger.location(&id).await?;
        let location = location.ok_or_else(|| unknown("location", "location_id", &id))?;
        Ok(Response::new(GetLocationResponse { location: Some(location.into()) }))
    }

    async fn list_locations(
        &self,
        request: Request<ListLocationsRequest>,
    ) -> Result<Response<ListLocationsResponse>, Status> {
        let ids = caller(&request).locations.ids();
        let ListLocationsRequest { page_size, page_token } = request.into_inner();
        let rows_max = page::rows_max(page_size)?;
        let after = page::decode(LOCATIONS, &page_token)?.unwrap_or_default();
        let rows = self.ledger.locations(ids.as_deref(), &after, rows_max).await?;
        let next_page_token = page::next(LOCATIONS, &rows, rows_max, |row| row.location_id.clone());
        let locations = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListLocationsResponse { locations, next_page_token }))
    }

    async fn set_location_status(
        &self,
        request: Request<SetLocationStatusRequest>,
    ) -> Result<Response<SetLocationStatusResponse>, Status> {
        let (caller, sent) = (caller(&request), request.into_inner());
        let (status, until) = status_in(&sent)?;
        let id = identifier(sent.location_id, "location_id")?;
        check_location(&caller, &id)?;
        let ledger = self.acting_for(&caller);
        let location = ledger.set_location_status(&id, status, until).await?;
        let location = location.ok_or_else(|| unknown("location", "location_id", &id))?;
        if location.live.closed_at.is_some() {
            return Err(closed_for_good());
        }
        Ok(Response::new(SetLocationStatusResponse { location: Some(location.into()) }))
    }

    async fn close_location(
        &self,
        request: Request<CloseLocationRequest>,
    ) -> Result<Response<CloseLocationResponse>, Status> {
        let caller = caller(&request);
        let id = identifier(request.into_inner().location_id, "location_id")?;
        check_location(&caller, &id)?;
        let closed = self.acting_for(&caller).close_location(&id).await?;
        let location = closed_out(closed, &id)?;
        Ok(Response::new(CloseLocationResponse { location: Some(location.into()) }))
    }

    async fn put_channel(
        &self,
        request: Request<PutChannelRequest>,
    ) -> Result<Response<PutChannelResponse>, Status> {
        let caller = caller(&request);
        let proto::Channel { channel_id, name } = request.into_inner().channel.unwrap_or_default();
        let channel_id = identifier(channel_id, "channel.channel_id")?;
        if !is_name(&name) {
            return Err(invalid("NAME_INVALID", "channel.name", NAME));
        }
        check_put_channel(&caller, &channel_id)?;
        let channel = Channel { channel_id, name };
        self.acting_for(&caller).put_channel(&channel).await?;
        Ok(Response::new(PutChannelResponse { channel: Some(channel.into()) }))
    }

    async fn get_channel(
        &self,
        request: Request<GetChannelRequest>,
    ) -> Result<Response<GetChannelResponse>, Status> {
        let caller = caller(&request);
        let id = identifier(request.into_inner().channel_id, "channel_id")?;
        check_channel(&caller, &id)?;
        let channel = self.ledger.channel(&id).await?;
        let channel = channel.ok_or_else(|| unknown("channel", "channel_id", &id))?;
        Ok(Response::new(GetChannelResponse { channel: Some(channel.into()) }))
    }

    async fn list_channels(
        &self,
        request: Request<ListChannelsRequest>,
    ) -> Result<Response<ListChannelsResponse>, Status> {
        let ids = caller(&request).channels.ids();
        let ListChannelsRequest { page_size, page_token } = request.into_inner();
        let rows_max = page::rows_max(page_size)?;
        let after = page::decode(CHANNELS, &page_token)?.unwrap_or_default();
        let rows = self.ledger.channels(ids.as_deref(), &after, rows_max).await?;
        let next_page_token = page::next(CHANNELS, &rows, rows_max, |row| row.channel_id.clone());
        let channels = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListChannelsResponse { channels, next_page_token }))
    }

    async fn put_channel_policy(
        &self,
        request: Request<PutChannelPolicyRequest>,
    ) -> Result<Response<PutChannelPolicyResponse>, Status> {
        let caller = caller(&request);
        let PutChannelPolicyRequest { policy, expected_version, actor, note } =
            request.into_inner();
        let policy = policy_in(policy.unwrap_or_default())?;
        let channel_id = policy.channel_id.clone();
        let by = put_by(&actor, &note)?;
        let acting = caller.acting(actor.clone());
        let by = PutBy { actor: &acting, ..by };
        check_policy(&caller, &channel_id)?;
        // No version is as high as the highest number, so what does not fit is a mismatch like others.
        let expected = expected_version.map(|version| i64::try_from(version).unwrap_or(i64::MAX));
        match self.ledger.put_policy(policy, expected, by).await? {
            PutPolicy::Put(policy) => {
                Ok(Response::new(PutChannelPolicyResponse { policy: Some((*policy).into()) }))
            }
            PutPolicy::NameUnknown(field) => Err(name_unknown(&field)),
            PutPolicy::ChannelUnknown => Err(unknown("channel", "channel_id", &channel_id)),
            PutPolicy::VersionMismatch(version) => Err(version_mismatch(&channel_id, version)),
        }
    }

    async fn get_channel_policy(
        &self,
        request: Request<GetChannelPolicyRequest>,
    ) -> Result<Response<GetChannelPolicyResponse>, Status> {
        let caller = caller(&request);
        let id = identifier(request.into_inner().channel_id, "channel_id")?;
        check_policy(&caller, &id)?;
        let policy = self.ledger.policy(&id).await?;
        let policy = policy.ok_or_else(|| unknown("channel", "channel_id", &id))?;
        Ok(Response::new(GetChannelPolicyResponse { policy: Some(policy.into()) }))
    }

    async fn list_channel_policies(
        &self,
        request: Request<ListChannelPoliciesRequest>,
    ) -> Result<Response<ListChannelPoliciesResponse>, Status> {
        let caller = caller(&request);
        check_every_location(&caller)?;
        let ids = caller.channels.ids();
        let ListChannelPoliciesRequest { page_size, page_token } = request.into_inner();
        let rows_max = page::rows_max(page_size)?;
        let after = page::decode(POLICIES, &page_token)?.unwrap_or_default();
        let (rows, more) = self.ledger.policies(ids.as_deref(), &after, rows_max).await?;
        let last = rows.last().filter(|_| more);
        let next_page_token =
            last.map_or_else(String::new, |row| page::encode(POLICIES, &row.channel_id));
        let policies = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListChannelPoliciesResponse { policies, next_page_token }))
    }

    async fn preview_channel_policy(
        &self,
        request: Request<PreviewChannelPolicyRequest>,
    ) -> Result<Response<PreviewChannelPolicyResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.preview(&caller, request.into_inner()).await?))
    }

    async fn list_channel_policy_versions(
        &self,
        request: Request<ListChannelPolicyVersionsRequest>,
    ) -> Result<Response<ListChannelPolicyVersionsResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.policy_versions(&caller, request.into_inner()).await?))
    }

    async fn put_quotas(
        &self,
        request: Request<PutQuotasRequest>,
    ) -> Result<Response<PutQuotasResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.put_all_quotas(&caller, request.into_inner()).await?))
    }

    async fn list_quotas(
        &self,
        request: Request<ListQuotasRequest>,
    ) -> Result<Response<ListQuotasResponse>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.list_all_quotas(&caller, request.into_inner()).await?))
    }

    async fn put_item(
        &self,
        request: Request<PutItemRequest>,
    ) -> Result<Response<PutItemResponse>, Status> {
        let item = item_in(request.into_inner().item.unwrap_or_default())?;
        let item = self.ledger.put_item(&item).await?;
        Ok(Response::new(PutItemResponse { item: Some(item.into()) }))
    }

    async fn block_item(
        &self,
        request: Request<BlockItemRequest>,
    ) -> Result<Response<BlockItemResponse>, Status> {
        let (caller, deadline) = (caller(&request), deadline(&request));
        check_everything(&caller)?;
        Ok(Response::new(self.block(&caller, request.into_inner(), deadline).await?))
    }

    async fn unblock_item(
        &self,
        request: Request<UnblockItemRequest>,
    ) -> Result<Response<UnblockItemResponse>, Status> {
        let caller = caller(&request);
        check_everything(&caller)?;
        Ok(Response::new(self.unblock(&caller, request.into_inner()).await?))
    }

    async fn get_item(
        &self,
        request: Request<GetItemRequest>,
    ) -> Result<Response<GetItemResponse>, Status> {
        let sku = request.into_inner().sku;
        if !is_sku(&sku) {
            return Err(invalid("SKU_INVALID", "sku", "is malformed"));
        }
        let item = self.ledger.item(&sku).await?;
        let item = item.ok_or_else(|| unknown("item", "sku", &sku))?;
        Ok(Response::new(GetItemResponse { item: Some(item.into()) }))
    }

    async fn list_items(
        &self,
        request: Request<ListItemsRequest>,
    ) -> Result<Response<ListItemsResponse>, Status> {
        let ListItemsRequest { page_size, page_token } = request.into_inner();
        let rows_max = page::rows_max(page_size)?;
        let after = page::decode(ITEMS, &page_token)?.unwrap_or_default();
        let rows = self.ledger.items(&after, rows_max).await?;
        let next_page_token = page::next(ITEMS, &rows, rows_max, |row| row.sku.clone());
        let items = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListItemsResponse { items, next_page_token }))
    }
}

/// A policy is about every location.
fn check_policy(caller: &Caller, channel_id: &str) -> Result<(), Status> {
    check_channel(caller, channel_id)?;
    check_every_location(caller)
}

/// A recall is about every location and every channel.
fn check_everything(caller: &Caller) -> Result<(), Status> {
    check_every_location(caller)?;
    check_every_channel(caller)
}

pub(crate) fn identifier(id: String, field: &str) -> Result<String, Status> {
    match is_identifier(&id) {
        true => Ok(id),
        false => Err(invalid("IDENTIFIER_INVALID", field, IDENTIFIER)),
    }
}

fn item_in(sent: proto::Item) -> Result<PutItem, Status> {
    let proto::Item { sku, name, gtins, stock_item, .. } = sent;
    if !is_sku(&sku) {
        let rule = "must match [A-Za-z0-9._:/-]{1,64} with single inner spaces at most";
        return Err(invalid("SKU_INVALID", "item.sku", rule));
    }
    if !is_name(&name) {
        return Err(invalid("NAME_INVALID", "item.name", NAME));
    }
    if gtins.len() > GTINS_MAX || !gtins.iter().all(|gtin| is_gtin(gtin)) {
        let rule = "must be at most 20 numbers of 8, 12, 13 or 14 digits with a valid check digit";
        return Err(invalid("GTIN_INVALID", "item.gtins", rule));
    }
    Ok(PutItem { sku, name, gtins, stock_item: stock_item.unwrap_or(true) })
}

impl From<Channel> for proto::Channel {
    fn from(channel: Channel) -> proto::Channel {
        proto::Channel { channel_id: channel.channel_id, name: channel.name }
    }
}

impl From<Item> for proto::Item {
    fn from(item: Item) -> proto::Item {
        let Item { sku, name, gtins, stock_item, recalled_at } = item;
        let recalled_at = recalled_at.map(time_out);
        proto::Item { sku, name, gtins, stock_item: Some(stock_item), recalled_at }
    }
}
