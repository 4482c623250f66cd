//! What exists for a caller: what lies outside its reach is answered like a name never heard of.

use tonic::{Code, Status};

use crate::{
    access::{Caller, Reach},
    api::{
        Api,
        error::{invalid, refused, status, unknown},
    },
    stock::{
        hold::HoldId,
        ids::{ChannelNo, LocationNo, Place, is_identifier},
        refusal::Refusal,
        reservation::Reservation,
    },
};

impl Api {
    /// Where the stock of a location is that exists for the caller.
    pub(crate) async fn place(&self, caller: &Caller, location_id: &str) -> Result<Place, Status> {
        if !is_identifier(location_id) {
            return Err(invalid("LOCATION_ID_INVALID", "location_id", "is not an identifier"));
        }
        check_location(caller, location_id)?;
        let directory = self.ledger.directory();
        if directory.known().place(location_id).is_none() {
            directory.find_locations(&[location_id]).await?;
        }
        let place = directory.known().place(location_id);
        place.ok_or_else(|| unknown("location", "location_id", location_id))
    }

    /// Whether the location with a number exists for the caller.
    pub(crate) async fn reaches(
        &self,
        caller: &Caller,
        location: LocationNo,
    ) -> Result<bool, Status> {
        if caller.locations.is_all() {
            return Ok(true);
        }
        let directory = self.ledger.directory();
        if directory.known().location_of(location).is_none() {
            directory.find_numbered_locations(&[location]).await?;
        }
        let known = directory.known();
        let known = known.location_of(location);
        Ok(known.is_some_and(|known| caller.locations.includes(&known.location_id)))
    }

    /// Whether a reservation exists for the caller: by its location, and by its channel if it has one.
    pub(crate) async fn sees(&self, caller: &Caller, made: &Reservation) -> Result<bool, Status> {
        Ok(self.reaches(caller, made.id.place.location).await?
            && self.reaches_channel(caller, made.channel).await?)
    }

    /// The same of a channel; what is of no channel is out of nobody's reach.
    pub(crate) async fn reaches_channel(
        &self,
        caller: &Caller,
        channel: Option<ChannelNo>,
    ) -> Result<bool, Status> {
        let Some(channel) = channel.filter(|_| !caller.channels.is_all()) else { return Ok(true) };
        let directory = self.ledger.directory();
        if directory.known().channel_of(channel).is_none() {
            directory.find_numbered_channels(&[channel]).await?;
        }
        let known = directory.known();
        let known = known.channel_of(channel);
        Ok(known.is_some_and(|known| caller.channels.includes(&known.channel_id)))
    }

    /// All places that exist for the caller; `None`: all that there are.
    pub(crate) async fn places_of(&self, caller: &Caller) -> Result<Option<Vec<Place>>, Status> {
        let Reach::Only(ids) = &caller.locations else { return Ok(None) };
        let directory = self.ledger.directory();
        let unknown: Vec<_> = {
            let known = directory.known();
            ids.iter().filter(|id| known.place(id).is_none()).map(String::as_str).collect()
        };
        if !unknown.is_empty() {
            directory.find_locations(&unknown).await?;
        }
        let known = directory.known();
        let mut places: Vec<_> = ids.iter().filter_map(|id| known.place(id)).collect();
        places.sort_unstable();
        Ok(Some(places))
    }

    /// All channels that exist for the caller; `None`: all that there are.
    pub(crate) async fn channels_of(
        &self,
        caller: &Caller,
    ) -> Result<Option<Vec<ChannelNo>>, Status> {
        let Reach::Only(ids) = &caller.channels else { return Ok(None) };
        let directory = self.ledger.directory();
        let unknown: Vec<_> = {
            let known = directory.known();
            ids.iter().filter(|id| known.channel(id).is_none()).map(String::as_str).collect()
        };
        if !unknown.is_empty() {
            directory.find_channels(&unknown).await?;
        }
        let known = directory.known();
        Ok(Some(ids.iter().filter_map(|id| known.channel(id)).collect()))
    }

    /// The hold exists for the caller, as far as its location says: whose it is is known by its name.
    pub(crate) async fn check_hold_place(&self, caller: &Caller, id: HoldId) -> Result<(), Status> {
        match self.reaches(caller, id.place.location).await? {
            true => Ok(()),
            false => Err(refused(&Refusal::HoldUnknown { hold_id: id.to_string() })),
        }
    }
}

/// The location exists for the caller, as far as its reach says.
pub(crate) fn check_location(caller: &Caller, location_id: &str) -> Result<(), Status> {
    match caller.locations.includes(location_id) {
        true => Ok(()),
        false => Err(unknown("location", "location_id", location_id)),
    }
}

/// The channel exists for the caller, as far as its reach says. Without any channel no policy would count:
/// whoever may not use every channel must name one.
pub(crate) fn check_channel(caller: &Caller, channel_id: &str) -> Result<(), Status> {
    match channel_id {
        _ if caller.channels.includes(channel_id) => Ok(()),
        "" => {
            let message = "the credential is for certain channels; name one of them";
            Err(status(Code::PermissionDenied, "CHANNEL_FORBIDDEN", message, &[("channel_id", "")]))
        }
        id => Err(unknown("channel", "channel_id", id)),
    }
}

/// What concerns every location is for callers for whom every location exists.
pub(crate) fn check_every_location(caller: &Caller) -> Result<(), Status> {
    if caller.locations.is_all() {
        return Ok(());
    }
    let message = "this concerns every location, and the credential is for certain ones";
    Err(status(Code::PermissionDenied, "LOCATION_FORBIDDEN", message, &[]))
}

/// The same of channels.
pub(crate) fn check_every_channel(caller: &Caller) -> Result<(), Status> {
    if caller.channels.is_all() {
        return Ok(());
    }
    let message = "this concerns every channel, and the credential is for certain ones";
    Err(status(Code::PermissionDenied, "CHANNEL_FORBIDDEN", message, &[]))
}

/// Who is to be put may not be outside the caller's reach, whether it exists or not.
pub(crate) fn check_put_location(caller: &Caller, location_id: &str) -> Result<(), Status> {
    if caller.locations.includes(location_id) {
        return Ok(());
    }
    let (message, metadata) =
        ("the credential is not for this location", [("location_id", location_id)]);
    Err(status(Code::PermissionDenied, "LOCATION_FORBIDDEN", message, &metadata))
}

/// The same of a channel.
pub(crate) fn check_put_channel(caller: &Caller, channel_id: &str) -> Result<(), Status> {
    if caller.channels.includes(channel_id) {
        return Ok(());
    }
    let (message, metadata) =
        ("the credential is not for this channel", [("channel_id", channel_id)]);
    Err(status(Code::PermissionDenied, "CHANNEL_FORBIDDEN", message, &metadata))
}
