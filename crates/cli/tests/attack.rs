//! `countersign attack` and what else is left to the program `countersign-attack`: found in the same folder, given every
//! argument, and missed with advice.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

/// A folder with the program, and with this program of the system under the name of the other one.
fn programs(beside: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // Copied by a process of its own: one that this process wrote could be busy when it is started.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_countersign"))
        .arg(folder.path().join("countersign"))
        .status();
    assert!(copied.expect("it runs").success());
    let found =
        ["/bin", "/usr/bin"].into_iter().map(|bin| Path::new(bin).join(beside)).find(|path| path.exists());
    symlink(found.expect("every system has it"), folder.path().join("countersign-attack")).expect("a link");
    folder
}

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(folder.join("countersign"));
    command
        .args(args)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("it is there")
}

#[test]
fn the_program_beside_this_one_gets_every_argument_and_gives_the_exit_code() {
    let folder = programs("echo");
    fs::write(folder.path().join("S2.json"), r#"{"target": "/shop.toml", "properties": ["S2"]}"#)
        .expect("a file");
    let cases: [(&[&str], &str); 5] = [
        (&["attack", "shop.toml", "--races", "3"], "--color auto shop.toml --races 3\n"),
        (&["--color", "never", "attack", "check", "shop.toml"], "--color never check shop.toml\n"),
        (&["attack", "--help"], "--color auto --help\n"),
        (&["help", "attack"], "--color auto --help\n"),
        (&["replay", "S2.json"], "--color auto replay S2.json\n"),
    ];
    for (args, given) in cases {
        let output = run(folder.path(), args);
        assert_eq!(String::from_utf8_lossy(&output.stdout), given, "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
    let failed = run(programs("false").path(), &["attack", "shop.toml"]);
    assert_eq!(failed.status.code(), Some(1));
    let mermaid = run(folder.path(), &["replay", "S2.json", "--format", "mermaid"]);
    assert_eq!(mermaid.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&mermaid.stderr).contains("has no mermaid diagram"), "{mermaid:?}");
}

#[test]
fn without_that_program_the_message_says_how_to_get_it() {
    let folder = programs("echo");
    fs::remove_file(folder.path().join("countersign-attack")).expect("it is there");
    let output = run(folder.path(), &["attack", "shop.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("neither in the folder of this program nor in PATH")
            && said.contains("cargo build --release"),
        "{said}"
    );
}
