package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// foreignFiles are files in the formats of other programs, and the interactions in
// them.
var foreignFiles = map[string]struct {
	format, text string
	o            Options
	want         []string // METHOD URL body -> status type body
	left         []string
}{
	"vcrpy": {format: "vcrpy", text: `interactions:
- request:
    body: '{"item": 1}'
    headers:
      Accept: ['*/*']
      Content-Type: [application/json]
      Host: [api.shop.example]
    method: POST
    uri: https://api.shop.example/orders?a=%20b
  response:
    body:
      string: !!binary |
        H4sIAAAAAAACA6tWyi9KSS1SsjKsBQBeJ3//CwAAAA==
    headers:
      content-encoding: [gzip]
      content-type: [application/json]
      transfer-encoding: [chunked]
    status: {code: 201, message: Created}
- request:
    body: null
    headers: {}
    method: GET
    uri: https://api.shop.example/old
  response:
    body: {string: !!python/unicode 'plain'}
    headers: {content-type: [text/plain]}
    status: {code: 200, message: OK}
- request: {body: null, headers: {}, method: GET, uri: nowhere}
  response: {body: {string: ''}, headers: {}, status: {code: 200}}
version: 1
`, want: []string{
		`POST https://api.shop.example/orders?a=%20b {"item": 1} -> 201 Created application/json {"order":1}`,
		`GET https://api.shop.example/old  -> 200 OK text/plain plain`,
	}, left: []string{`interaction 2: it holds no request and answer: "nowhere" is no address`}},
	"vcrpy, JSON": {format: "vcrpy",
		text: `{"version": 1, "interactions": [{"request": {"method": "GET", "uri": "https://api.shop.example/x", "body": null, "headers": {"Accept": ["*/*"]}},
		"response": {"status": {"code": 404, "message": "Not Found"}, "headers": {"Content-Type": ["text/plain"]}, "body": {"string": "no"}}}]}`,
		want: []string{"GET https://api.shop.example/x  -> 404 Not Found text/plain no"}},
	"VCR": {format: "vcr", text: `---
http_interactions:
- request:
    method: post
    uri: https://api.shop.example/form
    body:
      encoding: UTF-8
      string: a=1&b=2
    headers:
      Content-Type:
      - application/x-www-form-urlencoded
      Accept-Encoding:
      - gzip;q=1.0,deflate;q=0.6
  response:
    status:
      code: 200
      message: OK
    headers:
      Content-Type:
      - text/html
      Date:
      - Thu, 18 Nov 2021 12:35:49 GMT
    body:
      encoding: UTF-8
      base64_string: |
        WsO8cmlj
        aA==
    http_version:
  recorded_at: Thu, 18 Nov 2021 12:35:49 GMT
recorded_with: VCR 6.0.0
`, want: []string{"POST https://api.shop.example/form a=1&b=2 -> 200 OK text/html Zürich"}},
	"nock": {format: "nock", text: `[
  {"scope": "https://api.shop.example:443", "method": "POST", "path": "/orders?a=1", "body": {"item": 1.50}, "status": 201,
   "response": {"id": 12345678901234567890}, "rawHeaders": ["content-type", "application/json", "Connection", "close"], "reqheaders": {"host": "api.shop.example"}, "responseIsBinary": false},
  {"scope": "https://api.shop.example:443", "method": "GET", "path": "/gz", "body": "", "status": 200,
   "response": ["1f8b0800000000000203ab56ca2f4a", "492d52b232ac05005e277fff0b000000"], "rawHeaders": ["Content-Encoding", "gzip", "Content-Type", "application/json"]},
  {"scope": "http://api.shop.example:8080", "method": "GET", "path": "/bin", "body": "", "status": 200, "response": "89ff00", "rawHeaders": {"Content-Type": "image/png"}, "responseIsBinary": true},
  {"scope": "https://api.shop.example:443", "method": "GET", "path": "/text", "body": "", "status": 200, "response": "just text", "headers": {"content-type": "text/plain"}}
]`, want: []string{
		`POST https://api.shop.example/orders?a=1 {"item":1.50} -> 201 Created application/json {"id":12345678901234567890}`,
		`GET https://api.shop.example/gz  -> 200 OK application/json {"order":1}`,
		"GET http://api.shop.example:8080/bin  -> 200 OK image/png \x89\xff\x00",
		"GET https://api.shop.example/text  -> 200 OK text/plain just text",
	}},
	"Polly": {format: "polly", text: `{"log": {"_recordingName": "shop", "creator": {"name": "Polly.JS", "version": "6"}, "version": "1.2", "entries": [
  {"_id": "b", "_order": 1, "request": {"method": "GET", "url": "https://api.shop.example/same", "headers": []},
   "response": {"status": 200, "statusText": "OK", "headers": [], "content": {"mimeType": "text/plain", "text": "second"}}},
  {"_id": "b", "_order": 0, "request": {"method": "GET", "url": "https://api.shop.example/same", "headers": []},
   "response": {"status": 200, "statusText": "OK", "headers": [{"name": "content-encoding", "value": "gzip"}],
    "content": {"_isBinary": true, "encoding": "base64", "text": "[\"H4sIAAAAAAACA6tWyi9KSS1SsjKsBQBeJ3//CwAAAA==\"]"}}}]}}`,
		want: []string{`GET https://api.shop.example/same  -> 200 OK  {"order":1}`,
			"GET https://api.shop.example/same  -> 200 OK  second"}},
	"WireMock": {format: "wiremock", o: Options{Base: "https://api.shop.example/"}, text: `{"mappings": [
  {"request": {"method": "POST", "url": "/orders", "bodyPatterns": [{"equalToJson": {"item": 1}}], "headers": {"Accept": {"contains": "json"}}},
   "response": {"status": 201, "jsonBody": {"id": 7}, "headers": {"Content-Type": "application/json"}, "fixedDelayMilliseconds": 20}},
  {"request": {"method": "GET", "urlPath": "/find", "queryParameters": {"q": {"equalTo": "a b"}}}, "response": {"status": 200, "base64Body": "WsO8cmljaA=="}},
  {"request": {"method": "GET", "url": "/reset"}, "response": {"fault": "CONNECTION_RESET_BY_PEER"}},
  {"request": {"method": "GET", "urlPathPattern": "/any/.*"}, "response": {"status": 200}},
  {"request": {"method": "GET", "urlPattern": "/plain"}, "response": {"status": 200, "body": "no template", "transformers": ["response-template"]}},
  {"request": {"method": "GET", "url": "/file"}, "response": {"status": 200, "bodyFileName": "../../secret"}},
  {"request": {"method": "GET", "url": "/t"}, "response": {"status": 200, "body": "{{request.path}}", "transformers": ["response-template"]}}]}`,
		want: []string{
			`POST https://api.shop.example/orders {"item":1} -> 201 Created application/json {"id":7}`,
			"GET https://api.shop.example/find?q=a+b  -> 200 OK  Zürich",
			"GET https://api.shop.example/reset  -> 0 no answer  ",
			"GET https://api.shop.example/plain  -> 200 OK  no template",
		}, left: []string{
			"mapping 3, GET /any/.*: it matches addresses by a pattern, and says none",
			"mapping 5, GET /file: its body lies in a file, ../../secret (--files DIR reads it)",
			"mapping 6, GET /t: its answer is a template",
		}},
	"Postman": {format: "postman", o: Options{Base: "https://api.shop.example",
		Variables: map[string]string{"id": "7"}}, text: `{"info": {"name": "Shop", "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"},
  "variable": [{"key": "version", "value": "v2"}],
  "item": [{"name": "Orders", "item": [
    {"name": "Get", "request": {"method": "GET", "url": {"raw": "{{baseUrl}}/{{version}}/orders/:order?x={{id}}", "variable": [{"key": "order", "value": "a/b"}]}, "header": []},
     "response": [
       {"name": "ok", "originalRequest": {"method": "GET", "url": {"raw": "{{baseUrl}}/{{version}}/orders/:order?x={{id}}", "variable": [{"key": "order", "value": "a/b"}]}}, "status": "OK", "code": 200, "header": [{"key": "Content-Type", "value": "application/json"}], "body": "{}", "responseTime": 12},
       {"name": "who", "originalRequest": {"method": "GET", "header": [{"key": "X", "value": "{{unknown}}"}], "url": "{{baseUrl}}/x"}, "status": "", "code": 401, "header": null, "body": ""}]},
    {"name": "Put", "request": {"method": "PUT", "url": "https://other.example/form", "body": {"mode": "urlencoded", "urlencoded": [{"key": "a", "value": "1 2"}, {"key": "b", "value": "x", "disabled": true}]}},
     "response": [{"name": "ok", "status": "OK", "code": 204, "header": "X-A: b\n"}]},
    {"name": "Parts", "request": {"method": "GET"}, "response": [{"name": "ok", "code": 200, "status": "OK", "originalRequest": {"method": "GET",
      "url": {"protocol": "https", "host": ["api", "shop", "example"], "port": "8443", "path": ["v1", {"value": "a b"}, ":order"], "query": [{"key": "q", "value": "x&{{id}}"}, {"key": "off", "disabled": true}], "variable": [{"key": "order", "value": "9"}]}}}]},
    {"name": "None", "request": "https://other.example", "response": []}]}]}`,
		want: []string{
			"GET https://api.shop.example/v2/orders/a%2Fb?x=7  -> 200 OK application/json {}",
			"PUT https://other.example/form a=1+2 -> 204 OK  ",
			"GET https://api.shop.example:8443/v1/a%20b/9?q=x%267  -> 200 OK  ",
		}, left: []string{
			`Orders / Get, example "who": these variables have no value: unknown (--var NAME=VALUE)`,
			"Orders / None: it has no example of an answer",
		}},
	"Polly, loose": {format: "polly",
		text: `{"log": {"_recordingName": "shop", "version": "1.2", "entries": [{"request": {"method": "POST", "url": "https://api.shop.example/users/<USER>/a b?q={x} y",
		"headers": [{"name": "content-length", "value": 7}, {"name": "accept", "value": ["a/b", "c/d"]}], "headersSize": null, "bodySize": "7",
		"postData": {"mimeType": "application/json", "text": "{\"a\":1}", "params": [{"name": "card", "value": {"n": 1}}]}},
		"response": {"status": 200, "statusText": "OK", "headers": [{"name": "content-type", "value": "application/json"}], "content": {"mimeType": "application/json", "encoding": "base64", "size": 1.5, "text": "{\"ok\":true}"}}}]}}`,
		want: []string{`POST https://api.shop.example/users/%3CUSER%3E/a%20b?q={x}%20y {"a":1} -> 200 OK application/json {"ok":true}`}},
	"Polly, YAML": {format: "polly", text: "log:\n  _recordingName: shop\n  creator: {name: Polly.JS, version: 6.0.5}\n" +
		"  entries:\n    - _order: 0\n      request:\n        headers: [{name: accept, value: '*/*'}]\n        method: POST\n" +
		"        postData: {mimeType: application/json, text: '{\"a\":1}'}\n        url: https://api.shop.example/x\n" +
		"      response:\n        content:\n          mimeType: application/json\n          text: |\n            {\"b\":2}\n" +
		"        status: 201\n        statusText: Created\n      startedDateTime: 2026-11-28T12:54:50.882Z\n      time: 7\n",
		want: []string{"POST https://api.shop.example/x {\"a\":1} -> 201 Created  {\"b\":2}\n"}},
	"nock, YAML": {format: "nock",
		text: "- {scope: 'https://api.shop.example:443', method: GET, path: /x, status: 200, response: ok}\n",
		want: []string{"GET https://api.shop.example/x  -> 200 OK  ok"}},
	"HAR, YAML": {format: "har", text: "log:\n  entries:\n  - request: {method: GET, url: 'https://api.shop.example/x'}\n" +
		"    response: {status: 200, content: {text: ok}}\n", want: []string{"GET https://api.shop.example/x  -> 200 OK  ok"}},
	"vcrpy, of httpx": {format: "vcrpy",
		text: "interactions:\n- request: {body: '', headers: {}, method: GET, uri: https://api.shop.example/x}\n" +
			"  response: {content: fine, headers: {Content-Type: [text/plain]}, http_version: HTTP/1.1, status_code: 200}\n" +
			"version: 1\n",
		want: []string{"GET https://api.shop.example/x  -> 200 OK text/plain fine"}},
	"HAR": {format: "har", text: `{"log":{"version":"1.2","entries":[{"request":{"method":"GET","url":"https://api.shop.example/x"},"response":{"status":200,"content":{"text":"ok"}}}]}}`,
		want: []string{"GET https://api.shop.example/x  -> 200 OK  ok"}},
	"go-vcr": {format: "go-vcr-v4", text: "version: 2\ninteractions:\n- request: {url: 'https://api.shop.example/x', " +
		"method: GET}\n  response: {body: ok, code: 200, status: 200 OK}\n",
		want: []string{"GET https://api.shop.example/x  -> 200 OK  ok"}},
}

// TestImport reads the files of other programs. They are recognised by their content,
// and have their bodies as they were sent.
func TestImport(t *testing.T) {
	for name, c := range foreignFiles {
		t.Run(name, func(t *testing.T) {
			i, ok := For([]byte("\xef\xbb\xbf" + c.text))
			if !ok || i.Name != c.format {
				t.Fatalf("recognised as %q", i.Name)
			}
			got, err := i.Read([]byte("\xef\xbb\xbf"+c.text), c.o)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, i := range got.Interactions {
				lines = append(lines, fmt.Sprintf("%s %s %s -> %s %s %s", i.Request.Method, i.Request.URL, i.Request.Body,
					i.Response.Status, i.Response.Headers.Get("Content-Type"), i.Response.Body))
				if h := i.Request.Headers.Get("Host") + i.Response.Headers.Get("Connection") +
					i.Response.Headers.Get("Content-Encoding"); h != "" {
					t.Errorf("a header of the connection is kept: %v %v", i.Request.Headers, i.Response.Headers)
				}
			}
			if strings.Join(lines, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("read\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(c.want, "\n"))
			}
			if strings.Join(got.Left, "\n") != strings.Join(c.left, "\n") {
				t.Errorf("left out\n%s\nwant\n%s", strings.Join(got.Left, "\n"), strings.Join(c.left, "\n"))
			}
			// If such a file is loaded as a cassette, the error names its importer.
			path := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := cassette.Load(path); err == nil ||
				!strings.Contains(err.Error(), "fanfold cassettes import "+c.format+" ") {
				t.Errorf("loading it says %v", err)
			}
		})
	}
}

// TestImportBroken checks that faults of WireMock become breaks.
func TestImportBroken(t *testing.T) {
	c := foreignFiles["WireMock"]
	got, err := importWireMock([]byte(c.text), c.o)
	if err != nil || len(got.Details) != 1 || got.Details[0].Interaction != 2 || got.Details[0].Broken != wire.BreakReset {
		t.Errorf("%+v, %v", got, err)
	}
	c.o.File = func(name string) ([]byte, error) { return nil, fs.ErrNotExist }
	if _, err := importWireMock([]byte(c.text), c.o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := importWireMock([]byte(c.text), Options{}); err == nil ||
		!strings.Contains(err.Error(), "--base-url") {
		t.Errorf("without a host: %v", err)
	}
}

// TestImportForm checks that every field of a form is kept, except those that are
// switched off.
func TestImportForm(t *testing.T) {
	got, err := importPostman([]byte(
		`{"info": {"schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"}, "item": [
	  {"name": "Form", "request": {"method": "POST", "url": "https://api.shop.example/form", "body": {"mode": "formdata", "formdata": [
	    {"key": "a", "value": "1", "type": "text"}, {"key": "b", "value": "2", "type": "text"},
	    {"key": "c", "value": "3", "disabled": true}, {"key": "d", "value": "4"}]}},
	   "response": [{"name": "ok", "code": 200}]}]}`), Options{})
	if err != nil || len(got.Interactions) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	r := got.Interactions[0].Request
	kind, params, err := mime.ParseMediaType(r.Headers.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		t.Fatalf("the type %q, %v", r.Headers.Get("Content-Type"), err)
	}
	form, err := multipart.NewReader(strings.NewReader(r.Body), params["boundary"]).ReadForm(1 << 20)
	if err != nil || fmt.Sprint(form.Value) != "map[a:[1] b:[2] d:[4]]" {
		t.Errorf("the form %v, %v", form, err)
	}
}

// TestWireMockThereAndBack checks that an export can be imported without changes,
// including the order of repeated answers.
func TestWireMockThereAndBack(t *testing.T) {
	list := sample.Events(3)
	for n := range 3 {
		i := sample.Order()
		i.Request.Method, i.Request.Body, i.Response.Body = "GET", "", fmt.Sprintf("answer %d", n)
		list = append(list, i)
	}
	i := sample.Order()
	i.Request.URL, i.Request.Body, i.Response.Body = "https://api.shop.example?x", "\x00\xff", "\xff\x00"
	i.Response.Headers["X-Two"] = []string{"a", "b"}
	list = append(list, i)
	reset := sample.Order()
	reset.Response.Code, reset.Response.Status, reset.Response.Body, reset.Response.Headers = 0, "0 no answer", "", nil
	c := &cassette.Cassette{Path: "order.yaml", Interactions: append(list, reset),
		Meta: cassette.Meta{Details: []cassette.Details{{Interaction: 7, Broken: wire.BreakReset}}}}
	data, err := WireMock(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte(`"scenarioName": "order 3"`)); n != 3 ||
		!bytes.Contains(data, []byte(`"requiredScenarioState": "Started"`)) {
		t.Errorf("%d mappings of the scenario\n%s", n, data)
	}
	got, err := importWireMock(data, Options{Base: "https://api.shop.example"})
	if err != nil || len(got.Interactions) != len(c.Interactions) || len(got.Left) > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	for n, b := range got.Interactions {
		a := c.Interactions[n]
		url := strings.Replace(a.Request.URL, "example?", "example/?", 1)
		if a.Request.Body != b.Request.Body || url != b.Request.URL || a.Response.Body != b.Response.Body ||
			a.Response.Status != b.Response.Status ||
			fmt.Sprint(a.Response.Headers["X-Two"]) != fmt.Sprint(b.Response.Headers["X-Two"]) {
			t.Errorf("%d: %+v became %+v", n, a, b)
		}
	}
}

// FuzzImporters checks that an importer reads any file or returns an error.
func FuzzImporters(f *testing.F) {
	for _, c := range foreignFiles {
		f.Add([]byte(c.text))
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("version: 2\ninteractions:\n- request: {url: x}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		o := Options{Base: "https://api.shop.example"}
		red := sample.Redactor("")
		for _, i := range Importers() {
			got, err := i.Read(data, o)
			if err != nil {
				continue
			}
			for _, i := range got.Interactions {
				if i.Request.Headers == nil || i.Response.Headers == nil {
					t.Errorf("no headers: %+v", i)
				}
				red.Interaction(i)
			}
		}
	})
}

// TestHAR writes a HAR file and reads it again.
func TestHAR(t *testing.T) {
	i := sample.Order()
	i.Request.Body, i.Response.Body = "\x00\xff", `{"ok":true}`
	i.Response.Duration = 12 * time.Millisecond
	c := &cassette.Cassette{Interactions: append(sample.Events(3), i), Meta: cassette.Meta{Date: "2026-11-23"}}
	data, err := HAR(c, "fanfold 1.0")
	if err != nil {
		t.Fatal(err)
	}
	got, err := importHAR(data, Options{})
	if err != nil {
		t.Fatal(err)
	}
	back := got.Interactions
	if len(back) != 4 {
		t.Fatalf("%d interactions", len(back))
	}
	for n, b := range back {
		a := c.Interactions[n]
		if a.Request.Body != b.Request.Body || a.Request.URL != b.Request.URL || a.Response.Body != b.Response.Body ||
			a.Response.Status != b.Response.Status || a.Response.Duration != b.Response.Duration ||
			!reflect.DeepEqual(a.Response.Headers, b.Response.Headers) {
			t.Errorf("%d: %+v became %+v", n, a, b)
		}
	}
}

// TestImportV4 reads what go-vcr v4 writes.
func TestImportV4(t *testing.T) {
	got, err := importV4([]byte(`---
version: 2
interactions:
    - id: 0
      request:
        proto: HTTP/1.1
        proto_major: 1
        proto_minor: 1
        content_length: 7
        transfer_encoding: []
        trailer: {}
        host: api.shop.example
        remote_addr: ""
        request_uri: ""
        body: '{"a":1}'
        form: {}
        headers:
            Content-Type:
                - application/json
        url: https://api.shop.example/v1/x
        method: POST
      response:
        proto: HTTP/2.0
        proto_major: 2
        proto_minor: 0
        transfer_encoding: []
        trailer: {}
        content_length: 2
        uncompressed: true
        body: ok
        headers:
            Content-Type:
                - text/plain
        status: 200 OK
        code: 200
        duration: 12.5ms
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	list := got.Interactions
	if len(list) != 1 || list[0].Request.Body != `{"a":1}` || list[0].Response.Body != "ok" ||
		list[0].Response.Duration != 12500*time.Microsecond {
		t.Errorf("%+v", list[0])
	}
	if _, err := importV4([]byte("version: 1\ninteractions: []\n"), Options{}); err == nil {
		t.Error("format 1 is taken for format 2")
	}
}

// TestImportedBodyIsAValue checks that the body which vcrpy writes as a value is not lost.
func TestImportedBodyIsAValue(t *testing.T) {
	got, err := importTree([]any{map[string]any{
		"request": map[string]any{"method": "POST", "uri": "https://api.shop.example/",
			"body": map[string]any{"hidden": true}},
		"response": map[string]any{"status": map[string]any{"code": 200}, "body": map[string]any{"string": "ok"}},
	}})
	if err != nil || len(got.Interactions) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	if i := got.Interactions[0]; i.Request.Body != `{"hidden":true}` || i.Response.Body != "ok" {
		t.Errorf("%q, %q", i.Request.Body, i.Response.Body)
	}
}
