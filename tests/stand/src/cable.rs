use std::{
    fs,
    path::Path,
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

/// A host of its own for a process, played by a network namespace, and the cable between it and this one. For root on
/// Linux only. The host ends with its process.
#[derive(Debug)]
pub struct Cable {
    name: String,
}

impl Cable {
    /// A command that waits for a line on its standard input, and then runs this program, on a host that isn't
    /// connected with anything yet. Its process stays the same.
    pub fn command() -> Command {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "read -r _; exec \"$@\"", "host"]);
        command
    }

    /// Connects the host of a process that was started so. Numbers tell the cables of this process apart.
    pub fn lay(number: u32, pid: u32) -> Self {
        let cable = Self {
            name: format!("dbs{}n{number}", process::id()),
        };
        let net = net(number);
        let deadline = Instant::now() + Duration::from_secs(30);
        let net_of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        while net_of(&pid.to_string()) == net_of("self") {
            assert!(Instant::now() < deadline, "no network namespace");
            thread::sleep(Duration::from_millis(1));
        }
        let name = &cable.name;
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {pid}"
        ));
        ip(&format!("addr add {net}.1/30 dev {name}"));
        ip(&format!("link set {name} up"));
        // The namespace is there until the last of its sockets has given up: long after the process, if they do as ever.
        let inside = format!(
            "ip addr add {net}.2/30 dev eth0 && ip link set eth0 up && echo 1 > /proc/sys/net/ipv4/tcp_orphan_retries"
        );
        let ran = Command::new("nsenter")
            .args(["--net", "--target", &pid.to_string(), "sh", "-c", &inside])
            .status();
        assert!(ran.expect("nsenter").success(), "{inside}");
        cable
    }

    /// This end's address, of the cable with this number.
    pub fn address(number: u32) -> String {
        format!("{}.1", net(number))
    }

    /// From now on, nothing comes through, and nobody is told. `None` if the host has just ended, and the cable with it.
    pub fn cut(&self) -> Option<Instant> {
        self.set("down").then(Instant::now)
    }

    /// It is as before it was cut.
    pub fn mend(&self) {
        self.set("up");
    }

    fn set(&self, state: &str) -> bool {
        let words = format!("link set {} {state}", self.name);
        match try_ip(&words) {
            Ok(()) => true,
            // `ip` says it in several ways.
            Err(_) if !Path::new("/sys/class/net").join(&self.name).exists() => false,
            Err(error) => panic!("ip {words}: {error}"),
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // It may have gone with its host already.
        let _ = Command::new("ip")
            .args(["link", "del", &self.name])
            .output();
    }
}

/// Two for each process, so that processes with neighbouring ids can run at the same time.
fn net(number: u32) -> String {
    format!("10.213.{}", (process::id() * 2 + number) % 250)
}

fn ip(words: &str) {
    try_ip(words).unwrap_or_else(|error| panic!("ip {words}: {error}"));
}

fn try_ip(words: &str) -> Result<(), String> {
    let ran = Command::new("ip").args(words.split(' ')).output();
    let ran = ran.expect("the program `ip`, of the package iproute2");
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Cable;
    use crate::eventually;
    use nix::unistd::Uid;
    use std::process::Stdio;

    #[test]
    fn the_cable_of_an_ended_host_is_not_cut() {
        if !Uid::effective().is_root() {
            eprintln!("not tested: a network namespace needs root");
            return;
        }
        let mut command = Cable::command();
        let mut host = command.arg("true").stdin(Stdio::piped()).spawn().unwrap();
        let cable = Cable::lay(0, host.id());
        assert!(cable.cut().is_some());
        cable.mend();
        host.kill().unwrap();
        host.wait().unwrap();
        // The system removes it some time after the process.
        eventually("the cable has gone", || cable.cut().is_none());
    }
}
