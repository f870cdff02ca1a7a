"""/docs in a real browser, without a network: it describes both ways of sending and uploads a picture."""

import httpx
from conftest import PICTURES, Server
from playwright.sync_api import Browser


def test_a_picture_can_be_uploaded_from_the_docs(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url) if not request.url.startswith((server.url, "data:", "blob:")) else None
        ),
    )
    page.goto(f"{server.url}/docs")
    page.locator("#operations-Classification-predict_predict_post").click()
    page.get_by_role("button", name="Try it out").click()
    page.locator('input[type="file"]').set_input_files(PICTURES / "ankle-boot-0000.png")
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table .highlight-code").first
    answer.wait_for()
    assert "Ankle boot" in answer.inner_text()
    assert elsewhere == []
    page.close()


def test_both_ways_are_described(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    fields = content["multipart/form-data"]["schema"]["properties"]
    assert fields["file"] == {"type": "string", "format": "binary"}
    assert {"top_k", "mode", "background"} < set(fields)
    assert set(content["application/json"]["schema"]["properties"]) == {"image", *fields} - {"file"}
    assert {"image/png", "image/jpeg", "application/octet-stream"} <= set(content)
    answers = document["paths"]["/predict"]["post"]["responses"]
    assert {"200", "400", "413", "415", "422", "503", "504"} <= set(answers)
    assert set(answers["415"]["content"]) == {"application/problem+json"}
