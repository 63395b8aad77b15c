//! What AlterConfigs and IncrementalAlterConfigs share: who may, what is answered for each
//! resource, and the events that say what has changed.

use ottla_metadata::AlteredResource;
use ottla_types::ErrorCode;

use crate::audit;
use crate::guard::Operation;
use crate::node::Node;
use crate::request::{Call, take_denied};

/// Changes the settings of those of the resources that the client may change, with `alter`, and
/// writes down what has changed.
pub async fn alter_settings<R: AlteredResource>(
    node: &Node,
    call: &Call,
    mut resources: Vec<R>,
    alter: impl AsyncFnOnce(Vec<R>) -> Vec<R::Answer>,
) -> Vec<R::Answer> {
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
    answers.extend(alter(resources).await);
    let altered = altered.iter().map(|(kind, name)| (*kind, name.as_str()));
    audit::settings_changed(call, &before, &node.cluster(), altered);
    answers
}

/// The kinds and names of resources.
pub fn named_resources<R: AlteredResource>(resources: &[R]) -> Vec<(i8, String)> {
    let named = resources.iter().map(R::resource);
    named.map(|(kind, name)| (kind, name.to_owned())).collect()
}

/// The answers if nothing could be done at all.
pub fn refuse_resources<R: AlteredResource>(
    resources: Vec<(i8, String)>,
    code: ErrorCode,
) -> Vec<R::Answer> {
    resources.into_iter().map(|(kind, name)| R::answer(kind, name, code, None)).collect()
}
