//! A node for tests: started in a temporary directory, and dialled in process through the door that
//! connections use, with the rights that a test gives its client.
//!
//! A test injects a fault into the next requests by the log that they write: that of a partition,
//! of a coordinator (`__consumer_offsets-0`, `__transaction_state-0`) or of the controller
//! (`__cluster_metadata-0`). See [`Harness::set_fault`].

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_net::connection::{Handler, Outcome};
use ottla_partitions::{DiskFiles, Fault, FaultyFiles};
use ottla_protocol::{Decoder, Message, Request, request_frame, response_head_is_flexible};
use ottla_settings::Settings;

use crate::assemble::{Formatting, StartOptions};
use crate::broker::Broker;
use crate::dispatch::Serving;
use crate::guard::{Authorizer, Operation, Requester, Resource, ResourceType};
use crate::levels::NoLevels;
use crate::node::Node;
use crate::request::{ListenerScope, Session};

pub mod asks;
pub mod brokers;
pub mod members;
pub mod replicas;
pub mod transacting;

/// An operation, and what it is done to.
pub type Right = (ResourceType, Operation);

/// Allows exactly these; everything, if there is no list.
#[derive(Debug, Default)]
struct Rights(Mutex<Option<Vec<Right>>>);

impl Authorizer for Rights {
    fn allows(&self, client: Requester<'_>, operation: Operation, resource: Resource<'_>) -> bool {
        self.allows_some(client, operation, resource.kind())
    }

    fn allows_some(&self, _: Requester<'_>, operation: Operation, kind: ResourceType) -> bool {
        self.0.lock().as_ref().is_none_or(|all| all.contains(&(kind, operation)))
    }
}

/// A node, and a connection to each kind of listener.
pub struct Harness {
    broker: Broker,
    session: Arc<Session>,
    /// A connection to a controller's listener.
    controllers: Arc<Session>,
    rights: Arc<Rights>,
    runtime: tokio::runtime::Runtime,
    disk: FaultyFiles,
    folder: tempfile::TempDir,
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl Harness {
    /// Starts a node with these settings (`name=value`) besides its own.
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut overrides = vec![
            "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
            format!("log.dirs={}", folder.path().display()),
            "offsets.topic.num.partitions=1".to_owned(),
            "transaction.state.log.num.partitions=1".to_owned(),
        ];
        overrides.extend(settings.iter().map(|it| (*it).to_owned()));
        let settings = Settings::read(None, &overrides).expect("settings");
        let rights = Arc::new(Rights::default());
        let authorizer: Arc<dyn Authorizer> = Arc::clone(&rights) as Arc<dyn Authorizer>;
        let options = StartOptions {
            formatting: Formatting::IfEmpty,
            levels: Arc::new(NoLevels),
            authorizer: Some(authorizer),
        };
        let disk = FaultyFiles::new(Arc::new(DiskFiles));
        let files = Arc::new(disk.clone());
        let broker = Broker::start_on(files, settings, options, Clock::real()).expect("starts");
        let peer = "127.0.0.1:4711".parse().expect("an address");
        let session = Session::new(peer, "PLAINTEXT".into(), ListenerScope::Broker);
        let controllers = Session::new(peer, "CONTROLLER".into(), ListenerScope::Controller);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        Self {
            broker,
            session: Arc::new(session),
            controllers: Arc::new(controllers),
            rights,
            runtime,
            disk,
            folder,
        }
    }

    /// From now on the client may do exactly this; everything, without a list.
    pub fn allow(&self, rights: Option<&[Right]>) {
        *self.rights.0.lock() = rights.map(<[Right]>::to_vec);
    }

    /// From now on the disk has this fault under the log of a partition (`orders-0`), or none.
    pub fn set_fault(&self, partition: &str, fault: Option<Fault>) {
        self.disk.set(&self.folder.path().join(partition), fault);
    }

    /// The node.
    pub fn node(&self) -> &Node {
        self.broker.node()
    }

    /// Where the page with the node's metrics is.
    pub fn metrics_address(&self) -> std::net::SocketAddr {
        self.broker.metrics_address().expect("ottla.metrics.listener is set")
    }

    /// The connection to a broker's listener.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The connection to a controller's listener.
    pub fn controllers(&self) -> &Arc<Session> {
        &self.controllers
    }

    /// Sends a request in this version to a broker's listener, or to a controller's if only that
    /// serves it; what it is answered.
    pub fn ask<R: Request>(&self, request: &R, version: i16) -> R::Response {
        let session = if R::KEY.on_broker() { &self.session } else { &self.controllers };
        self.runtime.block_on(ask_node(self.broker.node(), session, request, version))
    }

    /// Sends a request in this version to a controller's listener; what it is answered.
    pub fn ask_controller<R: Request>(&self, request: &R, version: i16) -> R::Response {
        self.runtime.block_on(ask_node(self.broker.node(), &self.controllers, request, version))
    }

    /// What two tasks of a test come to that go on side by side.
    pub fn both<A, B>(&self, one: impl Future<Output = A>, two: impl Future<Output = B>) -> (A, B) {
        self.runtime.block_on(async { tokio::join!(one, two) })
    }

    /// Sends a frame, without its length, to a listener of this kind; what it came to.
    pub fn serve(&self, scope: ListenerScope, frame: Bytes) -> Outcome {
        let session = match scope {
            ListenerScope::Broker => &self.session,
            ListenerScope::Controller => &self.controllers,
        };
        let serving = Serving { node: self.broker.node(), session: Arc::clone(session) };
        self.runtime.block_on(serving.serve(frame))
    }
}

/// Sends a node a request in this version, as a client with this connection; what it is answered.
pub async fn ask_node<R: Request>(
    node: &Node,
    session: &Arc<Session>,
    request: &R,
    version: i16,
) -> R::Response {
    const LENGTH_BYTES: usize = 4;
    let frame = request_frame(request, version, 7, "test").expect("a frame");
    let frame = Bytes::from(frame).slice(LENGTH_BYTES..);
    let serving = Serving { node, session: Arc::clone(session) };
    let outcome = match serving.serve(frame).await {
        Outcome::Later(later) => later.await.ok_or("no reply".to_owned()),
        Outcome::Reply(reply) => Ok(reply),
        Outcome::Silent => Err("silence".to_owned()),
        Outcome::Close(why) => Err(why),
    };
    let reply = outcome.unwrap_or_else(|why| panic!("{} v{version}: {why}", R::NAME));
    let mut bytes = BytesMut::new();
    reply.chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes.extend_from_slice(&reply.tail);
    // The correlation id, and where there may be tags, that there are none.
    let head_bytes = 4 + usize::from(response_head_is_flexible(R::KEY, version));
    let mut body = Decoder::new(bytes.freeze().slice(head_bytes..));
    R::Response::decode(&mut body, version).unwrap_or_else(|why| panic!("{}: {why}", R::NAME))
}
