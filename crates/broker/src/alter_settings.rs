//! What AlterConfigs and IncrementalAlterConfigs share: who may, what is answered for each
//! resource, and the events that say what has changed.

use ottla_metadata::AlteredResource;

use crate::audit;
use crate::forwarding::{ForwardingFailure, unsupported_text};
use crate::guard::Operation;
use crate::node::Node;
use crate::request::{Call, take_denied};

/// Changes the settings of those of the resources that the client may change, with `alter`, and
/// writes down what has changed, if this node's controller has changed it.
///
/// # Errors
/// As `alter`: why the connection closes.
pub async fn alter_settings<R: AlteredResource>(
    node: &Node,
    call: &Call,
    mut resources: Vec<R>,
    alter: impl AsyncFnOnce(Vec<R>) -> Result<Vec<R::Answer>, String>,
) -> Result<Vec<R::Answer>, String> {
    let check = |resource: &R| {
        let (kind, name) = resource.resource();
        call.check_settings(node, Operation::AlterConfigs, kind, name)
    };
    let mut answers = take_denied(&mut resources, check, |resource, code| {
        let (kind, name) = resource.resource();
        R::answer(kind, name.to_owned(), code, Some(code.message().to_owned()))
    });
    let before = node.cluster();
    let altered = named_resources(&resources);
    answers.extend(alter(resources).await?);
    if node.controller.is_active() {
        let altered = altered.iter().map(|(kind, name)| (*kind, name.as_str()));
        audit::settings_changed(call, &before, &node.cluster(), altered);
    }
    Ok(answers)
}

/// The kinds and names of resources.
pub fn named_resources<R: AlteredResource>(resources: &[R]) -> Vec<(i8, String)> {
    let named = resources.iter().map(R::resource);
    named.map(|(kind, name)| (kind, name.to_owned())).collect()
}

/// The answers if the active controller could do nothing at all.
///
/// # Errors
/// It does not know this version of the request: why the connection closes.
pub fn refuse_resources<R: AlteredResource>(
    resources: Vec<(i8, String)>,
    failure: ForwardingFailure,
) -> Result<Vec<R::Answer>, String> {
    let ForwardingFailure::Refused(code) = failure else { return Err(unsupported_text()) };
    Ok(resources.into_iter().map(|(kind, name)| R::answer(kind, name, code, None)).collect())
}
