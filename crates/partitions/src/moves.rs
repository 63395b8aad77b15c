//! A partition moves from one data directory to another while it is written and read (KIP-113).
//!
//! Its log is copied, then what has come meanwhile, until little is left; that little is copied
//! while writers wait, and the copy takes the log's place. No request is refused and no record
//! lost: up to the last step the old folder is the truth, and after it the two hold the same.

use ottla_locks::MutexGuard;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_storage::{DataDir, Log, LogCopy, LogFolder, Opening, Pace, StorageError};
use ottla_types::{ErrorCode, TopicPartition, Uuid};

use crate::dir::{Dir, remove_folder};
use crate::partition::{Home, Partition};
use crate::partitions::Partitions;

/// What writers wait for is to be no more than this.
const REST_BYTES: u64 = 4 << 20;
/// How often what has come meanwhile is copied before writers have to wait for the rest.
const ROUNDS_MAX: usize = 20;

/// A partition on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// To which directory.
    pub directory: Uuid,
    /// How many bytes are there already.
    pub copied_bytes: u64,
    /// The folder there that shows after a crash that the move was accepted.
    folder: PathBuf,
    /// Is it under way? Then what carries it out removes the folder, should the move be cancelled.
    is_begun: bool,
}

/// Why a partition is not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveRefused {
    /// It is not here.
    NoPartition,
    /// There is no such directory.
    NoDirectory,
    /// The directory has failed.
    Offline,
    /// The folder that it is made ready in would have too long a name.
    NameTooLong,
}

impl MoveRefused {
    /// The error code in the answer to the client.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NoPartition => ErrorCode::REPLICA_NOT_AVAILABLE,
            Self::NoDirectory => ErrorCode::LOG_DIR_NOT_FOUND,
            Self::Offline => ErrorCode::KAFKA_STORAGE_ERROR,
            Self::NameTooLong => ErrorCode::INVALID_TOPIC_EXCEPTION,
        }
    }
}

impl Partitions {
    /// [`Self::plan_move`], on a lane.
    ///
    /// # Errors
    /// See there.
    pub async fn plan_move_on_lane(
        self: &Arc<Self>,
        place: TopicPartition,
        path: String,
    ) -> Result<bool, MoveRefused> {
        let share = self.target_dir(&place, &path)?.share;
        let all = Arc::clone(self);
        let planned = self.lanes.reading.run(share, move || all.plan_move(&place, &path));
        planned.await.unwrap_or(Err(MoveRefused::Offline))
    }

    /// Notes that a partition is to lie in the directory of this path, there too: an accepted move
    /// goes on after a crash. Returns whether there is anything to be done for it.
    ///
    /// # Errors
    /// There is no such partition or directory, or the directory has failed.
    pub fn plan_move(&self, place: &TopicPartition, path: &str) -> Result<bool, MoveRefused> {
        let dir = self.target_dir(place, path)?;
        if dir.trouble.has_failed() {
            return Err(MoveRefused::Offline);
        }
        let partition = self.find(&place.topic, place.partition).ok_or(MoveRefused::NoPartition)?;
        if partition.directory() == dir.id {
            // A move that was planned is cancelled.
            let cancelled = self.lock_moves().remove(place);
            self.remove_future(cancelled);
            return Ok(false);
        }
        let (files, folder) = (dir.dir.files(), future_replica_folder(dir, &partition));
        if !files.exists(&folder)
            && let Err(error) = files.make_dir(&folder)
        {
            let folder = folder.display();
            tracing::error!(partition = %place, %folder, %error, "folder for a move cannot be made");
            return Err(MoveRefused::Offline);
        }
        let mut moves = self.lock_moves();
        if moves.get(place).is_some_and(|it| it.directory == dir.id) {
            return Ok(true);
        }
        let moving = Moving { directory: dir.id, copied_bytes: 0, folder, is_begun: false };
        let replaced = moves.insert(place.clone(), moving);
        drop(moves);
        self.remove_future(replaced);
        Ok(true)
    }

    /// The directory of this path, if the partition can be moved to any.
    fn target_dir(&self, place: &TopicPartition, path: &str) -> Result<&Dir, MoveRefused> {
        if !DataDir::has_future_folder(place) {
            return Err(MoveRefused::NameTooLong);
        }
        let path = path.trim_end_matches('/');
        let is_it = |dir: &&Dir| dir.dir.path().to_string_lossy().trim_end_matches('/') == path;
        self.dirs.iter().find(is_it).ok_or(MoveRefused::NoDirectory)
    }

    /// Removes the folder of a move that will not be carried out.
    fn remove_future(&self, moving: Option<Moving>) {
        let folders = moving.filter(|it| !it.is_begun).into_iter();
        let with_dir = folders.filter_map(|it| Some((self.dir(it.directory)?, it.folder)));
        for (dir, folder) in with_dir.filter(|(dir, folder)| dir.dir.files().exists(folder)) {
            if let Err(error) = dir.dir.files().remove_dir(&folder) {
                // The next start would take it for a move to go on with.
                let folder = folder.display();
                tracing::error!(%folder, %error, "folder of a cancelled move cannot be removed");
            }
        }
    }

    /// The partitions that are on their way.
    #[must_use]
    pub fn moves(&self) -> Vec<(TopicPartition, Moving)> {
        self.lock_moves().iter().map(|(place, it)| (place.clone(), it.clone())).collect()
    }

    /// Plans the moves again that were accepted before the node stopped; what is left of others is
    /// removed. To be called when the partitions are open.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn resume_moves(&self) -> Result<(), StorageError> {
        for dir in &self.dirs {
            for (place, folder) in dir.dir.futures()? {
                // One whose partition is gone or is here is over.
                let planned = self.plan_move(&place, &dir.dir.path().to_string_lossy());
                let is_kept = planned == Ok(true)
                    && self.lock_moves().get(&place).is_some_and(|it| it.folder == folder);
                if !is_kept && dir.dir.files().exists(&folder) {
                    let removed = dir.dir.files().remove_dir(&folder);
                    removed.map_err(|source| StorageError::Io { path: folder, source })?;
                }
            }
        }
        Ok(())
    }

    /// Carries a planned move out, on this thread; `tell` lets the cluster know of the new
    /// directory before it is the one that counts, and `pace` is called with the bytes copied.
    ///
    /// # Errors
    /// One of the two disks fails, or the controller does not confirm; the partition stays where it
    /// was. If `pace` returns [`StorageError::Stopped`] it stays too, and so does the copy: by it
    /// the next start knows that the move goes on ([`Partitions::resume_moves`]).
    pub fn carry_out(
        &self,
        place: &TopicPartition,
        tell: &mut dyn FnMut(&Partition, Uuid) -> Result<(), StorageError>,
        pace: &mut Pace<'_>,
    ) -> Result<(), StorageError> {
        let _one_at_a_time = self.mover.lock();
        let Some(target) = self.target_of(place) else { return Ok(()) };
        let Some(partition) = self.find(&place.topic, place.partition) else {
            // It was deleted before its turn came.
            let planned = self.lock_moves().remove(place);
            self.remove_future(planned);
            return Ok(());
        };
        if let Some(it) = self.lock_moves().get_mut(place).filter(|it| it.directory == target) {
            it.is_begun = true;
        }
        partition.begin_move();
        // Running retention and cleaning end first, and begin no new work.
        drop((partition.begin_cleaning(), partition.begin_upkeep()));
        let done = self.copy_and_replace(&partition, target, tell, pace);
        partition.end_move();
        if matches!(done, Err(StorageError::Stopped)) {
            return done;
        }
        let mut moves = self.lock_moves();
        let planned = moves.get(place).filter(|it| it.directory == target);
        // Cancelled meanwhile and accepted again, it has its turn still before it.
        let is_accepted_again = planned.is_some_and(|it| !it.is_begun);
        if planned.is_some_and(|it| it.is_begun) {
            moves.remove(place);
        }
        drop(moves);
        if done.is_err() && !is_accepted_again {
            let left = self
                .dir(target)
                .map(|dir| (dir.dir.files(), future_replica_folder(dir, &partition)));
            if let Some((files, folder)) = left.filter(|(files, folder)| files.exists(folder)) {
                // Else the next start would take it for a move to go on with.
                let _ = files.remove_dir(&folder);
            }
        }
        done
    }

    /// Sets aside what an interrupted move left of the partition in other directories. It should
    /// be the same as what is served, but a directory that was away for long may hold more.
    pub(crate) fn set_twins_aside(
        &self,
        place: &TopicPartition,
        home: &Dir,
    ) -> Result<(), StorageError> {
        for other in self.online().filter(|it| it.id != home.id) {
            let (folder, files) = (other.dir.folder(place), other.dir.files());
            if files.exists(&folder) && files.exists(&home.dir.folder(place)) {
                self.set_aside(other, &folder, place, "another directory holds the partition")?;
            }
        }
        Ok(())
    }

    fn lock_moves(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Moving>> {
        self.moves.lock()
    }

    fn target_of(&self, place: &TopicPartition) -> Option<Uuid> {
        self.lock_moves().get(place).map(|it| it.directory)
    }

    fn dir(&self, id: Uuid) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.id == id)
    }

    fn copy_and_replace(
        &self,
        partition: &Partition,
        target: Uuid,
        tell: &mut dyn FnMut(&Partition, Uuid) -> Result<(), StorageError>,
        pace: &mut Pace<'_>,
    ) -> Result<(), StorageError> {
        let place = partition.name();
        let (Some(source), Some(dir)) = (self.dir(partition.directory()), self.dir(target)) else {
            return Err(StorageError::Failed);
        };
        let old = partition.folder();
        let future = future_replica_folder(dir, partition);
        let from = LogFolder { files: Arc::clone(source.dir.files()), folder: old.clone() };
        let to = LogFolder { files: Arc::clone(dir.dir.files()), folder: future.clone() };
        let mut copy = LogCopy::begin(from, to)?;
        let mut copied = 0;
        for _ in 0..ROUNDS_MAX {
            let mut count = |bytes| {
                copied += bytes;
                let mut moves = self.lock_moves();
                let is_wanted = moves.get_mut(place).filter(|it| it.directory == target);
                // The move was cancelled, or has another target meanwhile.
                is_wanted.ok_or(StorageError::Failed)?.copied_bytes = copied;
                drop(moves);
                pace(bytes)
            };
            if copy.catch_up(&partition.view(), &mut count)? <= REST_BYTES {
                break;
            }
        }
        // So that little is left to be made durable while writers wait.
        partition.flush()?;
        copy.settle(&partition.view())?;
        if self.target_of(place) != Some(target) {
            return Err(StorageError::Failed);
        }
        tell(partition, target)?;
        let _changing = self.changing.lock();
        let _alone = [partition.begin_cleaning(), partition.begin_upkeep()];
        let folder = dir.dir.folder(place);
        partition.replace(|owner| {
            owner.log.roll()?;
            if let Some(flush) = owner.log.begin_flush()? {
                let done = flush.run();
                owner.log.end_flush(flush, done)?;
            }
            copy.finish(&owner.log.view())?;
            let files = dir.dir.files();
            files
                .rename(&future, &folder)
                .map_err(|source| StorageError::Io { path: folder.clone(), source })?;
            files
                .sync_dir(dir.dir.path())
                .map_err(|source| StorageError::Io { path: dir.dir.path().to_owned(), source })?;
            let opened = Log::open(Opening {
                files: Arc::clone(files),
                folder: folder.clone(),
                options: owner.rules().log.clone(),
                clean: false,
                recovery_point: owner.log.log_end(),
                log_start: owner.log.log_start(),
                has_gaps: true,
                now_ms: self.clock.wall_ms(),
            });
            let log = opened.inspect_err(|_| {
                // The old folder stays the only one.
                let _ = files.remove_dir(&folder);
            })?;
            Ok((log, Home { folder: folder.clone(), ..dir.home() }))
        })?;
        self.take_along(place, source, dir)?;
        // The new one is written down before the old one goes.
        self.checkpoint()?;
        tracing::info!(
            partition = %place,
            from = %old.display(),
            to = %folder.display(),
            "partition moved to another data directory"
        );
        remove_folder(&**source.dir.files(), &old, partition.topic_id())
    }

    /// What the cleaner knows of the partition goes with it.
    fn take_along(&self, place: &TopicPartition, from: &Dir, to: &Dir) -> Result<(), StorageError> {
        let lock = |dir: &Dir, put: Option<i64>| {
            let mut clean = dir.clean.lock();
            let known = clean.0.remove(place);
            clean.0.extend(put.map(|offset| (place.clone(), offset)));
            dir.dir.set_clean_offsets(&clean).map(|()| known)
        };
        let known = lock(from, None)?;
        lock(to, known).map(drop)
    }
}

/// Where a partition is made ready that is to move into a directory.
fn future_replica_folder(dir: &Dir, partition: &Partition) -> PathBuf {
    dir.dir.future_folder(partition.name(), partition.topic_id())
}
