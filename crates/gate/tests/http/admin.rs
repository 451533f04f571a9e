//! The administrator's list and rejections.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::gate::{Call, Gate, admin, stranger};

const LIST: &str = "/api/v1/admin/promotions";

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_list_is_read_page_by_page_the_newest_first() {
    let gate = Gate::new();
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(gate.requested().await.to_string());
        gate.clock.advance_ms(1000);
    }
    made.reverse();
    let (mut read, mut path) = (Vec::new(), format!("{LIST}?limit=2"));
    loop {
        let page = gate.get(&path, &admin()).await.json();
        read.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{LIST}?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(read, made);
}

#[tokio::test]
async fn a_list_has_one_status_when_it_is_asked_for_one() {
    let gate = Gate::new();
    let pending = gate.requested().await;
    let approved = gate.approved().await;
    for (status, expected) in
        [("pending", vec![pending]), ("approved", vec![approved]), ("executed", Vec::new())]
    {
        let page = gate.get(&format!("{LIST}?status={status}"), &admin()).await.json();
        assert_eq!(ids(&page), expected.iter().map(Uuid::to_string).collect::<Vec<_>>(), "{status}");
    }
}

#[tokio::test]
async fn nonsense_in_a_list_is_400() {
    let gate = Gate::new();
    for _ in 0..2 {
        gate.requested().await;
    }
    let page = gate.get(&format!("{LIST}?limit=1"), &admin()).await.json();
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let cases = [
        ("limit=0".to_owned(), "invalid_limit"),
        ("limit=201".to_owned(), "invalid_limit"),
        ("limit=-1".to_owned(), "invalid_limit"),
        ("limit=".to_owned(), "invalid_limit"),
        ("limit=many".to_owned(), "invalid_limit"),
        ("status=done".to_owned(), "invalid_status"),
        ("status=Pending".to_owned(), "invalid_status"),
        ("cursor=".to_owned(), "invalid_cursor"),
        ("cursor=AAAA".to_owned(), "invalid_cursor"),
        (format!("cursor={}A", &cursor[..cursor.len() - 1]), "invalid_cursor"),
        (format!("cursor=B{}", &cursor[1..]), "invalid_cursor"),
        ("page=2".to_owned(), "invalid_query"),
        ("limit=1&limit=2".to_owned(), "invalid_query"),
    ];
    for (query, code) in cases {
        let answer = gate.get(&format!("{LIST}?{query}"), &admin()).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{query}");
    }
    let theirs = gate.get(&format!("{LIST}?cursor={cursor}"), &stranger()).await;
    assert_eq!(theirs.problem(), (400, "invalid_cursor".to_owned()), "a cursor is its team's");
    assert_eq!(gate.get(&format!("{LIST}?limit=200"), &admin()).await.status, 200);
}

#[tokio::test]
async fn a_pending_approval_is_rejected_once() {
    let gate = Gate::new();
    let approval = gate.requested().await;
    let reject = |id: &str| Call::new("POST", &format!("{LIST}/{id}/reject")).by(&admin());
    let answer = gate.send(reject(&approval.to_string())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"ok": true, "id": approval, "status": "rejected"}));
    let again = gate.send(reject(&approval.to_string())).await;
    assert_eq!(again.problem(), (409, "not_pending".to_owned()));
    assert_eq!(again.json()["approval_status"], "rejected");
    assert_eq!(gate.send(reject("17")).await.problem(), (400, "invalid_id".to_owned()));
    assert_eq!(gate.send(reject(&Uuid::nil().to_string())).await.problem(), (404, "not_found".to_owned()));
    let seen = gate.approval(approval).await;
    assert_eq!(seen["rejected_at"], "2026-07-01T12:00:00.000Z");
    assert_eq!(seen["approved_at"], Value::Null);
    // The link is invalid now.
    assert_eq!(gate.decide(approval, "approve").await.problem(), (410, "approval_gone".to_owned()));
}
