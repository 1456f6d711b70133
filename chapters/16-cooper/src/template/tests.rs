#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

fn value() -> Value {
    json!({
        "Name": "/web", "Id": "4f0c", "Count": 3, "Zero": 0, "Empty": "", "Nothing": null, "On": true,
        "Config": { "Env": ["A=1", "B=2"], "Labels": { "tier": "db", "a.b": "c" } },
        "Mounts": [{ "Source": "/a", "RW": true }, { "Source": "/b", "RW": false }],
    })
}

fn render(template: &str) -> String {
    match template.parse::<Template>().and_then(|template| template.render(&value())) {
        Ok(text) => text,
        Err(error) => format!("! {error}"),
    }
}

/// What docker 28 prints for the same template and the same value, checked by hand.
#[test]
fn templates_print_what_go_prints() {
    let table = [
        ("plain", "plain"),
        ("{{.Name}} {{.Count}} {{.On}}", "/web 3 true"),
        ("{{ .Config.Env }}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[a.b:c tier:db]"),
        ("{{.Nothing}}", "<no value>"),
        ("{{json .Config.Env}}", r#"["A=1","B=2"]"#),
        ("{{.Name | upper | printf \"%q\"}}", "\"/WEB\""),
        ("{{json .Name}}", "\"/web\""),
        ("{{index .Config.Labels \"a.b\"}}", "c"),
        ("{{index .Config.Env 1}}", "B=2"),
        ("{{index .Mounts 0}}", "map[RW:true Source:/a]"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ("{{join .Config.Env \",\"}}", "A=1,B=2"),
        ("{{len .Mounts}} {{len .Name}}", "2 4"),
        ("{{range .Mounts}}{{.Source}} {{end}}", "/a /b "),
        ("{{range $i, $m := .Mounts}}{{if $i}}, {{end}}{{$m.Source}}{{end}}", "/a, /b"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=c;tier=db;"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{with .Config}}{{.Env}}{{$.Id}}{{end}}", "[A=1 B=2]4f0c"),
        ("{{with .Empty}}x{{else}}empty{{end}}", "empty"),
        ("{{if .Zero}}a{{else if eq .Count 3}}b{{else}}c{{end}}", "b"),
        ("{{if and .On (not .Zero)}}yes{{end}}", "yes"),
        ("{{or .Empty .Name}}", "/web"),
        ("{{if gt .Count 2}}many{{end}}", "many"),
        ("{{if ne .Name \"/db\"}}other{{end}}", "other"),
        ("a {{- .Id -}} b", "a4f0cb"),
        ("{{/* nothing */}}x", "x"),
        ("{{$n := .Count}}{{$n}}{{$n = 4}}{{$n}}", "34"),
        ("{{printf \"%-6s|%4d|%05d|%.1f\" .Id .Count .Count 2.25}}", "4f0c  |   3|00003|2.2"),
        ("{{println .Id}}", "4f0c\n"),
        ("{{slice .Name 1}} {{truncate .Name 2}} {{pad .Id 1 2}}|", "web /w  4f0c  |"),
        ("{{split .Name \"e\"}} {{title \"ab cd\"}} {{lower \"AB\"}}", "[/w b] Ab Cd ab"),
        ("{{print 1 2 \"x\" 3}}", "1 2x3"),
        ("{{`raw {{`}}", "raw {{"),
    ];
    for (template, wanted) in table {
        assert_eq!(render(template), wanted, "{template}");
    }
}

#[test]
fn what_cannot_be_understood_or_is_not_there_is_an_error() {
    let table = [
        ("{{.Nope}}", "map has no entry for key \"Nope\""),
        ("{{.Nothing.X}}", "nil pointer"),
        ("{{.Name.X}}", "can't evaluate field X"),
        ("{{nope .}}", "function \"nope\" not defined"),
        ("{{if .On}}", "without {{end}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{.Name", "{{ without }}"),
        ("{{}}", "missing value for command"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{index .Mounts 7}}", "out of range"),
        ("{{template \"x\"}}", "not supported"),
        ("{{.Name | }}", "missing value"),
        ("{{(.Name}}", "without a closing one"),
        ("{{.Name)}}", "bracket too many"),
        ("{{pad .Id 99999999 1}}", "no number from 0"),
        ("{{printf \"%99999999d\" 1}}", "wider than"),
        ("{{\"a\\z\"}}", "no such escape"),
    ];
    for (template, wanted) in table {
        let said = render(template);
        assert!(said.starts_with("! ") && said.contains(wanted), "{template}: {said}");
    }
    assert!(render(&"{{if .}}".repeat(60)).contains("more than"));
    assert!(render(&"(".repeat(70_000)).contains("longer than"));
    assert!(render(&format!("{{{{{}}}}}", "(".repeat(60))).contains("more than"));
}

#[test]
fn headings_are_the_template_applied_to_the_columns_names() {
    let template: Template = "{{.ID}}\t{{upper .Names}}\t{{.Label \"com.example.tier\"}}".parse().unwrap();
    let names = json!({ "ID": "CONTAINER ID", "Names": "NAMES" });
    assert_eq!(template.headings(&names).unwrap(), "CONTAINER ID\tNAMES\ttier");
    let labels = json!({ "com.example.tier": "db" });
    let row = json!({ "ID": "4f", "Names": "web" });
    assert_eq!(template.render_row(&row, labels.as_object().unwrap()).unwrap(), "4f\tWEB\tdb");
}
