//! The generated configuration and the seeds beside it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use omnibus_bus::{
    Cluster, ConfigError, Credentials, CredentialsError, PublicKeys, ServerOptions, Topology, server_config,
};

use crate::server::{catalogue, program, settings};

#[test]
fn nats_server_accepts_it_and_the_same_input_gives_the_same_text() {
    let topology = Topology::of(&catalogue(), &settings());
    let keys = Credentials::generate(&topology).public_keys();
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster {
        name: "east".into(),
        listen: "127.0.0.1:6222".into(),
        routes: vec!["nats://127.0.0.1:6223".into(), "nats://127.0.0.1:6224".into()],
    };
    let alone = ServerOptions::local(folder.path().join("store"));
    let clustered = ServerOptions { cluster: Some(cluster), ..alone.clone() };
    for options in [alone, clustered] {
        let text = server_config(&topology, &keys, &options).unwrap();
        assert_eq!(text, server_config(&Topology::of(&catalogue(), &settings()), &keys, &options).unwrap());
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, text).unwrap();
        let tested = Command::new(program()).arg("-t").arg("-c").arg(&file).output().unwrap();
        assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    }
}

#[test]
fn the_configuration_holds_no_seed() {
    let topology = Topology::of(&catalogue(), &settings());
    let keys = Credentials::generate(&topology).public_keys();
    let text = server_config(&topology, &keys, &ServerOptions::local("store")).unwrap();
    assert!(keys.values().all(|key| key.starts_with('U') && text.contains(key.as_str())));
    assert!(!text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.starts_with("SU") && word.len() > 40));
}

#[test]
fn a_user_without_a_key_and_a_path_with_a_quote_are_refused() {
    let topology = Topology::of(&catalogue(), &settings());
    let error = server_config(&topology, &PublicKeys::new(), &ServerOptions::local("store")).unwrap_err();
    assert!(matches!(error, ConfigError::NoKey(_)));
    let keys = Credentials::generate(&topology).public_keys();
    let error = server_config(&topology, &keys, &ServerOptions::local("a\" } \n")).unwrap_err();
    assert!(matches!(error, ConfigError::Unquotable(_)));
}

#[test]
fn seeds_are_made_once_for_their_owner_alone() {
    let topology = Topology::of(&catalogue(), &settings());
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("keys");
    let first = Credentials::load_or_generate(&directory, &topology).unwrap().public_keys();
    let again = Credentials::load_or_generate(&directory, &topology).unwrap().public_keys();
    assert_eq!(first, again);
    assert_eq!(first.len(), topology.users.len());

    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let seed = directory.join("mailer.nk");
    assert_eq!(mode(&seed), 0o600);

    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Credentials::load_or_generate(&directory, &topology).err().unwrap();
    assert!(matches!(error, CredentialsError::Open { mode: 0o644, .. }), "{error}");
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&seed, "hunter2\n").unwrap();
    let error = Credentials::load_or_generate(&directory, &topology).err().unwrap();
    assert!(matches!(error, CredentialsError::NotASeed(_)) && !error.to_string().contains("hunter2"), "{error}");
}
