use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A temporary folder that is removed, with the server that runs in it, when it is dropped or when this process ends,
/// however it ends.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    janitor: Child,
}

/// Waits, in a process of its own, for the end of the one that made the folder (the end of its standard input, which
/// nothing but the death of that process or the drop of the `Folder` brings about), then ends the server and removes
/// its folder. A signal to the terminal's foreground group doesn't reach it.
const JANITOR: &str = r#"
trap '' INT TERM HUP QUIT
read -r _
if read -r pid < "$1/data/postmaster.pid" && [ "$(readlink "/proc/$pid/cwd" || echo "$1/data")" = "$1/data" ]; then
    kill -CONT "$pid"; kill -QUIT "$pid"
    tries=0
    while kill -0 "$pid" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -KILL "$pid"
fi
# What runs here besides, by its process id.
if read -r pid < "$1/pid"; then kill -KILL "$pid"; fi
# An initdb that outlives its parent for a moment would make the folder again.
tries=100
[ -e "$1/initdb" ] && tries=70
rm -rf "$1"
while [ -e "$1" ] || [ $tries -lt 100 ]; do sleep 0.1; rm -rf "$1"; tries=$((tries + 1)); [ $tries -gt 200 ] && exit; done
"#;

impl Folder {
    pub(crate) fn create() -> Self {
        // Only its owner may enter. Sockets need a short path.
        let path = tempfile::Builder::new()
            .prefix("dbsemaphore-")
            .tempdir_in("/tmp")
            .expect("a temporary folder")
            .keep();
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh");
        Self { path, janitor }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the janitor begin.
    pub(crate) fn abandon(&mut self) {
        drop(self.janitor.stdin.take());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.abandon();
        let _ = self.janitor.wait();
    }
}
