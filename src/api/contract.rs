//! What the contract lists: services and their methods.

use std::sync::LazyLock;

use prost::Message as _;
use prost_types::{FileDescriptorSet, ServiceDescriptorProto};

use crate::api::proto::DESCRIPTORS;

/// A service of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its full name.
    pub name: String,
    /// The names of its methods.
    pub methods: Vec<String>,
}

static SERVICES: LazyLock<Vec<Service>> = LazyLock::new(|| {
    // A descriptor set that this build compiled itself can be read.
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default().file;
    let of_file = |file: &prost_types::FileDescriptorProto| {
        let package = file.package().to_owned();
        let service = |service: &ServiceDescriptorProto| Service {
            name: format!("{package}.{}", service.name()),
            methods: service.method.iter().map(|method| method.name().to_owned()).collect(),
        };
        file.service.iter().map(service).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
});

/// Every service of the contract.
pub fn services() -> &'static [Service] {
    &SERVICES
}
