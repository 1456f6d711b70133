#![allow(clippy::unwrap_used)]
use super::*;

/// Loads a project from a directory `shop` that holds `text` as compose.yaml and `dotenv` as .env.
fn load_with(text: &str, dotenv: &str) -> Result<Project, String> {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("Shop.1");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("compose.yaml"), text).unwrap();
    std::fs::write(home.join(".env"), dotenv).unwrap();
    std::fs::write(home.join("web.env"), "A=file\nB=file\n").unwrap();
    let environment = |name: &str| (name == "USERS").then(|| "shell".to_owned());
    Project::load_with(&home.join("."), &[], None, &environment)
        .map_err(|error| error.to_string().replace(&home.display().to_string(), "DIR"))
        .map(|mut project| {
            project.directory = PathBuf::from("DIR");
            project.file = PathBuf::from("DIR/compose.yaml");
            for service in project.services.values_mut() {
                let relative = |path: &PathBuf| {
                    PathBuf::from(path.display().to_string().replace(&home.display().to_string(), "DIR"))
                };
                if let Some(build) = &mut service.build {
                    build.context = relative(&build.context);
                    build.dockerfile = relative(&build.dockerfile);
                }
                for mount in &mut service.mounts {
                    if let containers::Source::Bind { path, .. } = &mut mount.source {
                        *path = relative(path);
                    }
                }
            }
            project
        })
}

fn load(text: &str) -> Result<Project, String> {
    load_with(text, "")
}

#[test]
fn a_project_is_understood_whole() {
    let text = r#"
version: "3.8"
x-common: &common
  restart: "no"
services:
  web:
    <<: *common
    build:
      context: ./web
      args: {V: 1, USERS: , NONE: }
      target: ship
    command: sh -c 'echo "$$HOME"'
    environment:
      - A=env
      - USERS
      - NONE
    env_file: web.env
    ports: ["8000:80", {target: 53, published: "${PORT}", protocol: udp, host_ip: 127.0.0.1}]
    volumes:
      - data:/data
      - ./src:/app:ro
      - /cache
      - {type: tmpfs, target: /t}
    depends_on:
      db: {condition: service_started}
    networks:
      back: {aliases: [www]}
    labels: [tier=front]
  db:
    image: db:${TAG:-1}
    entrypoint: ["/db", "--fast"]
    depends_on: [cache]
    networks: [back]
    expose: [5432]
  cache:
    image: cache
    network_mode: none
volumes:
  data:
  other: {external: true, name: elsewhere}
networks:
  back: {internal: true}
"#;
    insta::assert_json_snapshot!(load_with(text, "PORT=5353\n").unwrap());
}

#[test]
fn the_least_project_has_a_default_network_and_its_directorys_name() {
    let project = load("services: {a: {image: x}}").unwrap();
    assert_eq!(project.name, "shop1");
    assert_eq!(project.networks["default"].name, "shop1_default");
    assert_eq!(project.services["a"].container(&project.name), "shop1-a-1");
}

#[test]
fn variables_that_are_not_set_are_told() {
    let project = load("services: {a: {image: 'x$TAG'}}").unwrap();
    assert_eq!(project.warnings, ["the variable \"TAG\" is not set, a blank string stands in for it"]);
}

#[test]
fn services_start_after_what_they_depend_on() {
    let project =
        load("services: {a: {image: x, depends_on: [c]}, b: {image: x}, c: {image: x, depends_on: [b]}}").unwrap();
    let order = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|name| name.to_string()).collect();
        let order = order::start_order(&project, &wanted).map_err(|error| error.to_string())?;
        Ok::<_, String>(order.iter().map(|service| service.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(order(&[]).unwrap(), ["b", "c", "a"]);
    assert_eq!(order(&["c"]).unwrap(), ["b", "c"]);
    assert_eq!(order(&["z"]).unwrap_err(), "no such service: z");
}

#[test]
fn every_mistake_is_told_with_its_path() {
    let cases = [
        "services: {a: {image: x, healthcheck: {test: [CMD, x]}}}",
        "services: {a: {image: x, restart: always}}",
        "services: {a: {}}",
        "services: {a: {image: x, ports: ['80:http']}}",
        "services: {a: {image: x, volumes: ['data:/x']}}",
        "services: {a: {image: x, volumes: ['./d:x']}}",
        "services: {a: {image: x, depends_on: {b: {condition: service_healthy}}}}",
        "services: {a: {image: x, depends_on: [b]}}",
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
        "services: {a: {image: x, networks: [n]}}",
        "services: {a: {image: x, networks: [n, m]}}",
        "services: {a: {image: x, environment: {A: [1]}}}",
        "services: {a: {image: x, tty: yes}}",
        "services: {a: {image: '${V:?please set V}'}}",
        "services: {a: {image: x, command: \"a 'b\"}}",
        "services: {'a/b': {image: x}}",
        "include: [../other.yaml]\nservices: {a: {image: x}}",
        "networks: {n: {driver: overlay}}\nservices: {a: {image: x}}",
        "name: Shop\nservices: {a: {image: x}}",
        "services: [a]",
        "{}",
        "- a",
    ];
    let told: Vec<String> = cases.iter().map(|text| load(text).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_missing_file_says_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = Project::load(&dir.path().join("a"), &[PathBuf::from("nope.yaml")], None).unwrap_err();
    assert!(error.to_string().contains("nope.yaml: No such file"), "{error}");
}
