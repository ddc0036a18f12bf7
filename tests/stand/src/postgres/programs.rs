use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder that has PostgreSQL's server programs: that of `DBSEMAPHORE_TEST_POSTGRES`, or else the installed ones.
pub(crate) fn folder() -> PathBuf {
    env::var_os("DBSEMAPHORE_TEST_POSTGRES").map_or_else(installed, PathBuf::from)
}

/// The folder of the installed ones, which has `pg_dump` and `pg_upgrade`, too.
pub(crate) fn installed() -> PathBuf {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Some(path) = env::var_os("PATH") {
        candidates.extend(env::split_paths(&path));
    }
    if let Ok(answer) = Command::new("pg_config").arg("--bindir").output() {
        candidates.push(String::from_utf8_lossy(&answer.stdout).trim().into());
    }
    // Debian's, and Homebrew's on both kinds of Mac; the newest version first.
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
    ] {
        candidates.extend(versions(Path::new(parent), prefix));
    }
    candidates
        .into_iter()
        // A link may be left over from a package that is gone; what it pointed to is where all programs are.
        .filter_map(|folder| fs::canonicalize(folder.join("postgres")).ok())
        .filter_map(|postgres| Some(postgres.parent()?.to_owned()))
        .find(|folder| folder.join("initdb").is_file())
        .expect(
            "PostgreSQL's programs are not installed: `make setup` does it on Debian; elsewhere, install PostgreSQL 14 or \
             later and put `postgres` and `initdb` on the PATH, or set DBSEMAPHORE_TEST_URL to a server to test on",
        )
}

fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            Some((
                version.parse().unwrap_or_default(),
                entry.path().join("bin"),
            ))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}
