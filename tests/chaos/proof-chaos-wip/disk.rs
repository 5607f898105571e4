//! A disk that is small: a tmpfs with a limit. Whoever may not mount one has no such rounds.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

const SIZE: &str = "size=24m,mode=0700";

/// Mounted until dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    place: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn small() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().join("disk");
        std::fs::create_dir(&place)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "omnibus-chaos"]).arg(&place).output()?;
        ensure!(mounted.status.success(), "mount: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        Ok(Disk { place, _folder: folder })
    }

    /// May this process mount one?
    pub(crate) fn permitted() -> bool {
        Disk::small().is_ok()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place
    }

    /// Leaves no room at all.
    pub(crate) fn fill(&self) {
        use std::io::Write;
        let Ok(mut file) = std::fs::File::create(self.filler()) else { return };
        let block = [7; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..1]).is_ok() {}
    }

    pub(crate) fn clear(&self) {
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.place.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is just ending may have files open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).output();
    }
}
