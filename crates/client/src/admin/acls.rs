//! Access control lists: which principal may do what.

use ottla_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use ottla_protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use ottla_protocol::messages::describe_acls_request::DescribeAclsRequest;

use crate::client::Client;
use crate::error::ClientError;

/// What errors are about.
const ACLS: &str = "access control lists";

/// A rule. Numbers are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclBinding {
    /// `ResourceType`
    pub resource_type: i8,
    /// The name of the resource, or its prefix.
    pub resource_name: String,
    /// `PatternType`: 3 is literal, 4 prefixed.
    pub pattern_type: i8,
    /// The principal: `KIND:NAME`.
    pub principal: String,
    /// From which host; `*` is all.
    pub host: String,
    /// `AclOperation`
    pub operation: i8,
    /// `AclPermissionType`: 2 denies, 3 allows.
    pub permission: i8,
}

/// Which rules are meant. Numbers are Kafka's; 1 is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilter {
    /// `ResourceType`
    pub resource_type: i8,
    /// The name of the resource, if it matters.
    pub resource_name: Option<String>,
    /// `PatternType`: 2 matches all that concern the name.
    pub pattern_type: i8,
    /// The principal; `None` for any.
    pub principal: Option<String>,
    /// From which host, if it matters.
    pub host: Option<String>,
    /// `AclOperation`
    pub operation: i8,
    /// `AclPermissionType`
    pub permission: i8,
}

impl Client {
    /// Adds rules.
    ///
    /// # Errors
    /// The cluster refuses one of them, or no broker answers.
    pub async fn create_acls(&self, bindings: Vec<AclBinding>) -> Result<(), ClientError> {
        let creation = |binding: AclBinding| AclCreation {
            resource_type: binding.resource_type,
            resource_name: binding.resource_name,
            resource_pattern_type: binding.pattern_type,
            principal: binding.principal,
            host: binding.host,
            operation: binding.operation,
            permission_type: binding.permission,
            ..Default::default()
        };
        let creations = bindings.into_iter().map(creation).collect();
        let request = CreateAclsRequest { creations, ..Default::default() };
        for result in self.ask_controller(&request).await?.results {
            ClientError::check_item(result.error_code, result.error_message, ACLS)?;
        }
        Ok(())
    }

    /// Removes the rules that match one of these filters.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn delete_acls(&self, filters: Vec<AclFilter>) -> Result<(), ClientError> {
        let filter = |filter: AclFilter| DeleteAclsFilter {
            resource_type_filter: filter.resource_type,
            resource_name_filter: filter.resource_name,
            pattern_type_filter: filter.pattern_type,
            principal_filter: filter.principal,
            host_filter: filter.host,
            operation: filter.operation,
            permission_type: filter.permission,
            ..Default::default()
        };
        let filters = filters.into_iter().map(filter).collect();
        let request = DeleteAclsRequest { filters, ..Default::default() };
        for result in self.ask_controller(&request).await?.filter_results {
            ClientError::check_item(result.error_code, result.error_message, ACLS)?;
        }
        Ok(())
    }

    /// The rules that match a filter, those of a resource together.
    ///
    /// # Errors
    /// The cluster refuses, or no broker answers.
    pub async fn describe_acls(&self, filter: AclFilter) -> Result<Vec<AclBinding>, ClientError> {
        let request = DescribeAclsRequest {
            resource_type_filter: filter.resource_type,
            resource_name_filter: filter.resource_name,
            pattern_type_filter: filter.pattern_type,
            principal_filter: filter.principal,
            host_filter: filter.host,
            operation: filter.operation,
            permission_type: filter.permission,
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        ClientError::check_item(response.error_code, response.error_message, ACLS)?;
        let mut all = Vec::new();
        for resource in response.resources {
            all.extend(resource.acls.into_iter().map(|acl| AclBinding {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                pattern_type: resource.pattern_type,
                principal: acl.principal,
                host: acl.host,
                operation: acl.operation,
                permission: acl.permission_type,
            }));
        }
        Ok(all)
    }
}
