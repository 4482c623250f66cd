//! A volume of PostgreSQL's own, so that it can be full without anybody else noticing.

use std::{
    fs::{self, File},
    io::{ErrorKind, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

/// Sparse: what is not written takes no room.
const BYTES: u64 = 2 << 30;
/// What is filled by writing.
const FINE_BYTES: u64 = 16 << 20;
const UNMOUNT_TRIES_MAX: u32 = 50;
const UNMOUNT_EVERY: Duration = Duration::from_millis(100);

/// A mounted file system in a file; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Volume {
    pub folder: PathBuf,
}

/// What fills a volume until it is dropped.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
}

impl Volume {
    /// Makes one in a folder.
    ///
    /// # Errors
    /// Only root may, and not everywhere.
    pub(super) fn mount(place: &Path) -> anyhow::Result<Volume> {
        let (image, folder) = (place.join("volume.img"), place.join("volume"));
        File::create(&image)?.set_len(BYTES)?;
        fs::create_dir(&folder)?;
        // Nothing is kept back for root, who fills it.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder))?;
        Ok(Volume { folder })
    }

    /// Leaves no byte.
    pub(super) fn fill(&self) -> anyhow::Result<Ballast> {
        let ballast = Ballast { path: self.folder.join("ballast") };
        let mut file = File::create(&ballast.path)?;
        let output =
            Command::new("df").args(["--output=avail", "-B1"]).arg(&self.folder).output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let left: u64 = told.lines().nth(1).context("df tells nothing")?.trim().parse()?;
        // Some of that goes into keeping the books; the rest is written.
        let most = left.saturating_sub(FINE_BYTES);
        run(Command::new("fallocate").args(["-l", &most.to_string()]).arg(&ballast.path))?;
        file.seek(SeekFrom::End(0))?;
        let rest = [0; 65_536];
        loop {
            match file.write_all(&rest).and_then(|()| file.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(ballast),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // What cannot be removed stays full, and PostgreSQL does not come back.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Volume {
    /// The last process that used it may be about to end.
    fn drop(&mut self) {
        for _ in 0..UNMOUNT_TRIES_MAX {
            if run(Command::new("umount").arg(&self.folder)).is_ok() {
                return;
            }
            thread::sleep(UNMOUNT_EVERY);
        }
        eprintln!("'{}' is still mounted", self.folder.display());
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}", told.trim());
    Ok(())
}
