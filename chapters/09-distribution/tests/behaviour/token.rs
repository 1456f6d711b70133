//! Tokens: asked for with the right words, shown only to the registry, renewed when refused.
use std::sync::OnceLock;

use crate::scripted::{Scripted, answer};
use distribution::{Client, Credentials, Login, Options, resolve};
use images::{Descriptor, Manifest, Reference, media};

/// A token server that gives `good` for alice's login and `weak` to everybody else.
fn token_server() -> Scripted {
    Scripted::at("127.0.0.1", |asked| {
        // alice:secret
        let token = match asked.authorization.as_deref() {
            Some("Basic YWxpY2U6c2VjcmV0") => "good",
            Some(_) => return answer("401 Unauthorized", &[], br#"{"details":"incorrect username or password"}"#),
            None => "weak",
        };
        answer("200 OK", &[], format!(r#"{{"token":"{token}","expires_in":300}}"#).as_bytes())
    })
}

/// A registry that wants the token `good`, and says where to get one.
fn registry(tokens: &Scripted) -> Scripted {
    let challenge = format!(
        r#"WWW-Authenticate: Bearer realm="http://{}/token?from=here",service="a registry",scope="repository:somebody/else:pull,push""#,
        tokens.address()
    );
    Scripted::at("127.0.0.1", move |asked| match asked.authorization.as_deref() {
        Some("Bearer good") => {
            static MANIFEST: OnceLock<Vec<u8>> = OnceLock::new();
            let manifest =
                MANIFEST.get_or_init(|| Manifest::new(Descriptor::of(media::OCI_CONFIG, b"{}"), Vec::new()).to_bytes());
            answer("200 OK", &[format!("Content-Type: {}", media::OCI_MANIFEST)], manifest)
        }
        Some(_) => answer("403 Forbidden", &[], br#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#),
        None => answer("401 Unauthorized", std::slice::from_ref(&challenge), b""),
    })
}

fn ask(registry: &Scripted, credentials: Credentials) -> Result<distribution::Resolved, distribution::Error> {
    let name: Reference = format!("{}/team/app:1", registry.address()).parse().unwrap();
    resolve(&Client::new(credentials, Options::default()), &name)
}

#[test]
fn the_login_goes_to_the_token_server_and_the_token_to_the_registry() {
    let tokens = token_server();
    let registry = registry(&tokens);
    let login = Credentials::anonymous().with(&registry.address(), Login::new("alice", "secret"));
    ask(&registry, login).unwrap();
    // What we are about to do, and not what the registry would like us to ask for.
    let target = "/token?from=here&service=a%20registry&scope=repository%3Ateam%2Fapp%3Apull";
    assert_eq!(tokens.asked().iter().map(|asked| asked.target.clone()).collect::<Vec<_>>(), [target]);
    let shown: Vec<_> = registry.asked().into_iter().map(|asked| asked.authorization).collect();
    assert_eq!(shown, [None, Some("Bearer good".to_owned())]);
}

#[test]
fn without_a_login_a_token_is_asked_for_anonymously() {
    let tokens = token_server();
    let registry = registry(&tokens);
    let error = ask(&registry, Credentials::anonymous()).unwrap_err();
    assert!(matches!(error, distribution::Error::Unauthorized { status: 403, .. }), "{error}");
    assert!(error.to_string().ends_with("(403): not yours"), "{error}");
    assert_eq!(tokens.asked()[0].authorization, None);
}

#[test]
fn a_wrong_password_is_the_token_servers_refusal() {
    let tokens = token_server();
    let registry = registry(&tokens);
    let login = Credentials::anonymous().with(&registry.address(), Login::new("alice", "guess"));
    let error = ask(&registry, login).unwrap_err();
    assert!(error.to_string().ends_with("incorrect username or password"), "{error}");
}

#[test]
fn a_login_for_another_registry_is_never_shown() {
    let tokens = token_server();
    let registry = registry(&tokens);
    let other = Credentials::anonymous().with("docker.io", Login::new("alice", "secret"));
    ask(&registry, other).unwrap_err();
    let shown = [tokens.asked(), registry.asked()].concat();
    assert!(shown.iter().all(|asked| asked.authorization.as_deref().is_none_or(|value| value == "Bearer weak")));
}
