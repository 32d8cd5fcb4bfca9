//! The table of methods as an OpenRPC document, and as a page for people (docs/API.md). Types come
//! from the core's own.

use klatch_core::command::Reply;
use klatch_core::event::{Delivery, Event, Message};
use klatch_core::query::{Contact, Member, PeerSummary, Person, RoomSummary, Status};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::registry::{Answers, METHODS, Method, Own, Param};
use super::rpc;
use super::topics::FORMS;

/// Version of this API: grows when something is changed or taken away, not when something is added.
pub const API_VERSION: u32 = 2;
/// Version of the specification that the document follows.
const OPENRPC: &str = "1.3.2";

/// What `rpc.discover` answers and `klatch api spec` prints.
#[must_use]
pub fn document() -> Value {
    let settings =
        SchemaSettings::draft07().with(|s| s.definitions_path = "/components/schemas".into());
    let mut types = settings.into_generator();
    let methods: Vec<Value> = METHODS.iter().map(|m| method(&mut types, m)).collect();
    let event = event(&mut types);
    let mut schemas: Map<String, Value> = types.take_definitions(true);
    nameless(&mut schemas);
    schemas.insert("ErrorData".to_owned(), error_data());
    json!({
        "openrpc": OPENRPC,
        "info": {
            "title": "Klatch local API",
            "version": format!("{API_VERSION}.0.0"),
            "description": "JSON-RPC 2.0 of a Klatch node, for its owner's programs on the same machine.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "methods": methods,
        "components": {"schemas": schemas, "errors": errors()},
        "x-program-version": env!("CARGO_PKG_VERSION"),
        "x-notifications": {"event": event},
        "x-topics": super::topics::list(),
    })
}

/// Subscribers get the type of an event beside it, and not within it as at rest.
fn nameless(schemas: &mut Map<String, Value>) {
    let forms = schemas.get_mut("Event").and_then(|e| e["oneOf"].as_array_mut());
    for form in forms.into_iter().flatten() {
        if let Some(name) = form["properties"].as_object_mut().and_then(|p| p.remove("event")) {
            form["title"] = name["const"].clone();
        }
        if let Some(required) = form["required"].as_array_mut() {
            required.retain(|key| key != "event");
        }
    }
}

fn method(types: &mut SchemaGenerator, m: &Method) -> Value {
    let group = m.name.split('.').next().unwrap_or_default();
    let error = |name: &str| json!({"$ref": format!("#/components/errors/{name}")});
    json!({
        "name": m.name,
        "summary": m.doc,
        "tags": [{"name": group}],
        "paramStructure": "by-name",
        "params": m.params.iter().map(param).collect::<Vec<_>>(),
        "result": {"name": "result", "schema": result(types, m)},
        "errors": [error("InvalidParams"), error("Failed")],
        "x-scope": m.scope.name(),
        "x-aliases": m.aliases,
    })
}

fn param(p: &Param) -> Value {
    let mut schema = match p.kind {
        "any" => json!({}),
        "array" => json!({"type": "array", "items": {"type": "string"}}),
        kind => json!({"type": kind}),
    };
    if let Some(default) = p.default.and_then(|d| serde_json::from_str::<Value>(d).ok()) {
        schema["default"] = default;
    }
    json!({"name": p.name, "summary": p.doc, "required": p.required, "schema": schema})
}

fn of<T: JsonSchema>(types: &mut SchemaGenerator) -> Value {
    types.subschema_for::<T>().to_value()
}

/// An object with these properties, all of them always there.
fn object(properties: Value) -> Value {
    let required: Vec<String> =
        properties.as_object().into_iter().flat_map(Map::keys).cloned().collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn result(types: &mut SchemaGenerator, m: &Method) -> Value {
    match m.answers {
        Answers::Command(_) => of::<Reply>(types),
        Answers::Query(tag) => match tag {
            "status" => of::<Status>(types),
            "rooms" => of::<Vec<RoomSummary>>(types),
            "members" => of::<Vec<Member>>(types),
            "history" | "journal" => of::<Vec<Message>>(types),
            "message" => of::<Message>(types),
            "contacts" => of::<Vec<Contact>>(types),
            "person" => of::<Person>(types),
            _ => json!({}),
        },
        Answers::Own(own) => own_result(types, own),
    }
}

fn own_result(types: &mut SchemaGenerator, own: Own) -> Value {
    let gap = json!({"type": ["object", "null"], "description": "`from`, `to`, `reason`: what cannot be told"});
    match own {
        Own::Send => {
            let state = [of::<Delivery>(types), json!({"not": {"required": ["state"]}})];
            json!({"allOf": [of::<Reply>(types), {"anyOf": state}]})
        }
        Own::Broadcast => {
            object(json!({"rooms": list(json!({"type": "object"})), "sent": number()}))
        }
        Own::Wait => {
            json!({"description": "what was waited for: a room, a peer, a message, or `ready`"})
        }
        Own::Stop => object(json!({"stopping": flag()})),
        Own::Ping => json!({"const": "pong"}),
        Own::Discover => json!({"type": "object", "description": "this document"}),
        Own::Version => object(json!({"name": text(), "version": text(), "api": number()})),
        Own::Health => object(json!({"live": flag(), "ready": flag(), "why": list(text())})),
        Own::Peers => of::<Vec<PeerSummary>>(types),
        Own::PeerAdd => object(json!({"address": text()})),
        Own::PeerForget => object(json!({"address": text(), "forgotten": number()})),
        Own::Room => of::<RoomSummary>(types),
        Own::FindPerson => object(json!({
            "identity": text(), "room_id": text(), "name": text(), "name_mark": text(), "rest": text(),
        })),
        Own::Subscribe => object(
            json!({"sub": text(), "cursor": number(), "oldest": number(), "head": number(), "gap": gap}),
        ),
        Own::Unsubscribe => object(json!({"ended": flag()})),
        Own::Read => object(json!({
            "events": list(event(types)), "cursor": number(), "oldest": number(), "head": number(), "gap": gap,
            "more": flag(),
        })),
        Own::Topics => list(object(
            json!({"topic": text(), "types": list(text()), "durable": flag(), "doc": text()}),
        )),
        Own::Cancel => object(json!({"cancelled": flag()})),
        Own::Authenticate => object(json!({"name": text()})),
        Own::TokenCreate => token(),
        Own::TokenList => list(token()),
        Own::TokenRevoke => object(json!({"revoked": text()})),
        Own::HttpOpen => object(json!({"address": text(), "url": text(), "token_file": text()})),
        Own::HttpClose => object(json!({"closed": flag()})),
    }
}

fn token() -> Value {
    let mut schema =
        object(json!({"name": text(), "scopes": list(text()), "created_ms": number()}));
    schema["properties"]["room_id"] = text();
    schema["properties"]["expires_ms"] = number();
    schema["properties"]["file"] = json!({"type": ["string", "null"]});
    schema
}

/// What a subscriber gets: the parameters of the notification `event`.
fn event(types: &mut SchemaGenerator) -> Value {
    let mut schema = object(json!({
        "cursor": {"type": ["integer", "null"], "description": "number in the journal; null for what is not kept"},
        "at_ms": {"type": "integer", "description": "Unix milliseconds"},
        "topic": text(),
        "type": text(),
        "event": of::<Event>(types),
    }));
    schema["properties"]["ephemeral"] =
        json!({"const": true, "description": "there if it is not kept"});
    schema["properties"]["sub"] =
        json!({"type": "string", "description": "the subscription, in notifications"});
    schema["properties"]["seq"] = json!({"type": "integer", "description": "counts the notifications of a subscription from 1"});
    schema
}

fn error_data() -> Value {
    let mut schema = object(json!({
        "code": {"type": "string", "description": "stable, for programs: `KLATCH-...`"},
        "hint": {"type": "string", "description": "what to try"},
        "retryable": {"type": "boolean", "description": "the same request may succeed later"},
        "exit": {"type": "integer", "description": "exit code for command-line programs (`klatch help exit-codes`)"},
    }));
    schema["properties"]["partial"] = json!({"description": "what was done all the same"});
    schema
}

fn errors() -> Value {
    let error = |code: i32, message: &str| json!({"code": code, "message": message});
    json!({
        "ParseError": error(rpc::PARSE_ERROR, "not JSON"),
        "InvalidRequest": error(rpc::INVALID_REQUEST, "JSON, but not a request"),
        "MethodNotFound": error(rpc::METHOD_NOT_FOUND, "there is no such method; the hint names the nearest"),
        "InvalidParams": error(rpc::INVALID_PARAMS, "the parameters do not fit; the hint names them"),
        "Failed": error(rpc::FAILED, "understood, and could not be done; `data` says why and what to try"),
    })
}

// ---- the page -----------------------------------------------------------------------------------

const INTRODUCTION: &str = include_str!("spec.md");

/// docs/API.md.
#[must_use]
pub fn markdown() -> String {
    let mut page = INTRODUCTION.trim_end().to_owned();
    page.push_str("\n\n## Topics\n\n| topic | types | kept | |\n|---|---|---|---|\n");
    for form in FORMS {
        let types = form.types.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", ");
        let kept = if form.durable { "yes" } else { "no" };
        page.push_str(&format!("| `{}` | {types} | {kept} | {} |\n", form.topic, form.doc));
    }
    page.push_str("\n## Methods\n");
    let document = document();
    let mut group = "";
    for (m, described) in METHODS.iter().zip(document["methods"].as_array().into_iter().flatten()) {
        let its = m.name.split('.').next().unwrap_or_default();
        if its != group {
            group = its;
            page.push_str(&format!("\n### {group}\n"));
        }
        page.push_str(&section(m, &described["result"]["schema"]));
    }
    page
}

fn section(m: &Method, result: &Value) -> String {
    let mut text = format!("\n**`{}`** ({})", m.name, m.scope.name());
    if !m.aliases.is_empty() {
        text.push_str(&format!(", also `{}`", m.aliases.join("`, `")));
    }
    text.push_str(&format!(": {}. Answer: {}\n", m.doc, shape(result)));
    if !m.params.is_empty() {
        text.push('\n');
    }
    for p in m.params {
        let must = match (p.required, p.default) {
            (true, _) => ", required".to_owned(),
            (false, Some(default)) => format!(", default `{default}`"),
            (false, None) => String::new(),
        };
        text.push_str(&format!("- `{}` ({}{must}): {}\n", p.name, p.kind, p.doc));
    }
    text
}

/// A schema in a few words.
fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return format!("`{}`", name.rsplit('/').next().unwrap_or_default());
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().map(shape).collect::<Vec<_>>().join(" and ");
    }
    if let Some(first) = schema["anyOf"].get(0) {
        return shape(first);
    }
    if schema["type"] == "array" {
        return format!("list of {}", shape(&schema["items"]));
    }
    if let Some(properties) = schema["properties"].as_object() {
        return format!("`{{{}}}`", properties.keys().cloned().collect::<Vec<_>>().join(", "));
    }
    match (&schema["const"], &schema["description"], &schema["type"]) {
        (Value::String(constant), ..) => format!("`\"{constant}\"`"),
        (_, Value::String(words), _) => words.clone(),
        (_, _, Value::String(kind)) => kind.clone(),
        _ => "anything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference in a document, as a JSON pointer.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|v| references(v, found));
            }
            Value::Array(list) => list.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_is_whole() {
        let document = document();
        assert!(document["openrpc"].is_string() && document["info"]["title"].is_string());
        let methods = document["methods"].as_array().unwrap();
        assert_eq!(methods.len(), METHODS.len());
        for m in methods {
            let name = m["name"].as_str().unwrap();
            assert!(m["result"]["name"].is_string(), "{name}");
            let schema = m["result"]["schema"].as_object().unwrap();
            assert!(!schema.is_empty(), "{name}: say what it answers");
            for p in m["params"].as_array().unwrap() {
                assert!(
                    p["name"].is_string() && p["schema"].is_object() && p["required"].is_boolean(),
                    "{name}: {p}"
                );
            }
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > METHODS.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn the_types_are_those_of_the_core() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let reaction = json!({"emoji": "x", "devices": []});
        let properties = schemas["Reactions"]["properties"].as_object().unwrap();
        assert!(reaction.as_object().unwrap().keys().eq(properties.keys()), "{properties:?}");
        assert_eq!(schemas["RoomId"]["pattern"], "^[a-z2-7]{26}$");
        let id = klatch_core::ids::RoomId([7; 16]).to_string();
        assert!(
            id.len() == 26
                && id.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
        );
        // The state of a message stands beside its other fields.
        let states = |schema: &Value| -> Vec<Value> {
            let forms = schema["oneOf"].as_array().into_iter().flatten();
            forms.map(|form| form["properties"]["state"]["const"].clone()).collect()
        };
        let beside = states(&schemas["Message"]["anyOf"][0]);
        assert_eq!(beside, states(&schemas["Delivery"]));
        assert!(beside.contains(&json!("queued")) && beside.contains(&json!("delivered")));
        for (name, key) in [("Message", "cursor"), ("Status", "cursor"), ("RoomSummary", "unread")]
        {
            assert!(schemas[name]["properties"][key].is_object(), "{name}.{key}");
        }
    }

    #[test]
    fn the_page_in_docs_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/API.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == markdown(),
            "generate it again: cargo run -p klatch -- api spec --markdown > docs/API.md"
        );
    }
}
