//! The table as a JSON Schema (draft 2020-12), for editors and for `relgraph schema`.

use serde_json::{Map, Value, json};

use super::shape::{Key, Shape};
use super::table::FILE;

/// The schema of release.yaml.
pub fn json_schema() -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "release.yaml".into());
    schema.insert("description".into(), "What relgraph builds a release from.".into());
    if let Value::Object(file) = of(&FILE) {
        schema.extend(file);
    }
    Value::Object(schema)
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Text(text) => {
            let mut schema = json!({ "type": "string", "minLength": 1 });
            if let Some(pattern) = text.pattern() {
                schema["pattern"] = pattern.into();
            }
            schema
        }
        Shape::Written => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Seconds => json!({ "type": "integer", "minimum": 1 }),
        Shape::OneOf(words) => {
            let names: Vec<&str> = words.iter().map(|word| word.name).collect();
            json!({ "type": "string", "enum": names })
        }
        Shape::List { of: item, single } => {
            let unique = !matches!(item, Shape::Text(super::text::Text::Script));
            let list = json!({ "type": "array", "items": of(item), "uniqueItems": unique });
            if *single { json!({ "anyOf": [of(item), list] }) } else { list }
        }
        Shape::Map { key, value, .. } => {
            let mut names = json!({ "minLength": 1 });
            if let Some(pattern) = key.pattern() {
                names["pattern"] = pattern.into();
            }
            json!({ "type": "object", "propertyNames": names, "additionalProperties": of(value) })
        }
        Shape::Record { keys, .. } => record(keys),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(of).collect::<Vec<_>>() }),
    }
}

fn record(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut schema = of(&key.shape);
            schema["description"] = key.meaning.into();
            (key.name.to_string(), schema)
        })
        .collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::super::table::KEYS;
    use super::*;

    #[test]
    fn every_key_is_described_and_nothing_else_is_allowed() {
        let schema = json_schema();
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
        assert!(schema["properties"].as_object().unwrap().values().all(|p| p["description"].is_string()));
        assert_eq!(schema["required"], json!(["release"]));
        assert_eq!(schema["additionalProperties"], json!(false));
        let step = &schema["properties"]["steps"]["additionalProperties"];
        assert_eq!(step["required"], json!(["run"]));
        assert_eq!(step["properties"]["timeout"]["type"], "integer");
        assert_eq!(schema["properties"]["upgrades"]["anyOf"][0]["enum"], json!(["none", "hot"]));
    }
}
