package filter

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"iocpipe/extract"
)

// newIndexing returns a worker that makes documents, with evil.example known as malicious.
func newIndexing(t testing.TB, index string) *Annotation {
	t.Helper()
	name, err := ParseIndexName(index)
	if err != nil {
		t.Fatal(err)
	}
	k := newKnowledge(t, "")
	k.SetOwn(mine(), extract.Policy{}, true)
	a := newAnnotation(k, Indexed, All)
	a.Zone = time.FixedZone("", 3600)
	a.Documents = &Documents{Index: name, Host: "web-3", TimeFields: []string{"ts", "event.created"}, IDField: "event.id"}
	return a
}

// items parses what a worker made into pairs of action and document.
func items(t testing.TB, out []byte) (actions, documents []map[string]any) {
	t.Helper()
	for i, line := range bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n")) {
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("line %d: %v: %s", i, err, line)
		}
		if i%2 == 0 {
			actions = append(actions, v["create"].(map[string]any))
		} else {
			documents = append(documents, v)
		}
	}
	return actions, documents
}

func TestDocuments(t *testing.T) {
	const position = `"log":{"file":{"path":"in"},"offset":0},"host":{"name":"web-3"},`
	for _, tt := range []struct{ line, id, want string }{
		{"2026-03-04T09:15:22Z from 198.51.100.7\n", "",
			`{"@timestamp":"2026-03-04T09:15:22.000Z",` + position + `"message":"2026-03-04T09:15:22Z from 198.51.100.7","related":{"ip":["198.51.100.7"]}}`},
		{"2026-03-04 09:15:22 no zone\r\n", "", `{"@timestamp":"2026-03-04T08:15:22.000Z",` + position + `"message":"2026-03-04 09:15:22 no zone"}`},
		{`{"@timestamp":"2026-03-04T09:15:22+01:00","n":1234567890123456789}` + "\n", "", `{"@timestamp":"2026-03-04T09:15:22+01:00","n":1234567890123456789}`},
		{`{"ts":1772615722.5}` + "\n", "", `{"@timestamp":"2026-03-04T09:15:22.500Z","ts":1772615722.5}`},
		{`{"event":{"created":"2026-03-04T09:15:22Z","id":"a\"b"}}` + "\n", `a"b`, `{"@timestamp":"2026-03-04T09:15:22.000Z","event":{"created":"2026-03-04T09:15:22Z","id":"a\"b"}}`},
		{`{"event.id":17,"event.created":1772615722000}` + "\n", "17", `{"@timestamp":"2026-03-04T09:15:22.000Z","event.id":17,"event.created":1772615722000}`},
		{"\ufeff@cee: {\"ts\":\"1772615722\"} \n", "", `{"@timestamp":"2026-03-04T09:15:22.000Z","ts":"1772615722"}`},
		{"2026-03-04T09:15:22Z bad \xff \\\n", "", `{"@timestamp":"2026-03-04T09:15:22.000Z",` + position + `"message":"2026-03-04T09:15:22Z bad \\xFF \\\\","iocpipe":{"escaped":true}}`},
		{`{"@timestamp":` + "\n", "", ""},
		{"\n", "", ""},
	} {
		a := newIndexing(t, "logs")
		b := whole(tt.line)
		actions, documents := items(t, a.Process(nil, b))
		if len(documents) != 1 {
			t.Fatalf("%q became %d documents", tt.line, len(documents))
		}
		if id, _ := actions[0]["_id"].(string); id != tt.id || actions[0]["_index"] != "logs" {
			t.Errorf("%q: action %v", tt.line, actions[0])
		}
		out := a.Process(nil, b)
		_, document, _ := bytes.Cut(out, []byte("\n"))
		if tt.want == "" { // stamped with the time of reading
			when, err := time.Parse(time.RFC3339, documents[0]["@timestamp"].(string))
			if err != nil || time.Since(when) > time.Hour || a.Documents.Stamped.Load() != 2 || documents[0]["message"] != strings.TrimSuffix(tt.line, "\n") {
				t.Errorf("%q: %s", tt.line, document)
			}
		} else if string(document) != tt.want+"\n" {
			t.Errorf("%q: got\n%swant\n%s", tt.line, document, tt.want)
		}
	}
}

// TestDocumentsAreAnnotated checks that what is known stands on documents, and what is not can be found again.
func TestDocumentsAreAnnotated(t *testing.T) {
	a := newIndexing(t, "logs")
	b := whole("{\"a\":\"evil.example\",\"b\":\"other.example\"}\nGET evil.example for 192.0.2.1\n")
	b.ID, b.Offset = "1:2", 1000
	actions, documents := items(t, a.Process(nil, b))
	for i, d := range documents {
		related := d["related"].(map[string]any)
		hosts, _ := json.Marshal(related["hosts"])
		if own := d["iocpipe"].(map[string]any); own["verdict"] != "malicious" || !strings.Contains(string(hosts), `"evil.example"`) {
			t.Errorf("document %d: %v", i, d)
		}
	}
	if a.Documents.Stamped.Load() != 2 {
		t.Errorf("%d documents were stamped", a.Documents.Stamped.Load())
	}
	first, second := actions[0]["_id"].(string), actions[1]["_id"].(string)
	if !strings.HasSuffix(first, "-1000") || !strings.HasSuffix(second, "-1041") {
		t.Errorf("IDs %q and %q do not say where the lines stand", first, second)
	}
	b.ID = "1:3"
	if other, _ := items(t, a.Process(nil, b)); other[0]["_id"] == first {
		t.Error("lines of two files have one ID")
	}
}

// TestLongDocuments reads lines over the limit: each becomes one document, or several when it is too long for one.
func TestLongDocuments(t *testing.T) {
	long := strings.Repeat("x", maxMessage+5)
	a := newIndexing(t, "logs")
	var out bytes.Buffer
	src := &placedInput{Reader: strings.NewReader("short\n" + long[:maxMessage/2] + "\r\n" + long + "\nshort\n"), at: Position{"in", "id", 0, 1}}
	if _, err := Run(t.Context(), src, &out, func() Worker { return newIndexing(t, "logs") }, Options{MaxLine: 100, Long: a, Failed: failing(t)}); err != nil {
		t.Fatal(err)
	}
	_, documents := items(t, out.Bytes())
	want := []int{5, maxMessage / 2, maxMessage, 5, 5}
	if len(documents) != len(want) {
		t.Fatalf("got %d documents, want %d", len(documents), len(want))
	}
	offset := 0
	for i, d := range documents {
		if n := len(d["message"].(string)); n != want[i] {
			t.Errorf("document %d has a message of %d bytes, want %d", i, n, want[i])
		}
		if got := d["log"].(map[string]any)["offset"].(float64); int(got) != offset {
			t.Errorf("document %d is from %v, want %d", i, got, offset)
		}
		offset += want[i] + []int{1, 2, 0, 1, 1}[i]
	}
	if a.Documents.Parts.Load() != 1 {
		t.Errorf("%d parts", a.Documents.Parts.Load())
	}
}

func TestIndexName(t *testing.T) {
	when := time.Date(2026, 3, 4, 23, 30, 0, 0, time.FixedZone("", -3600))
	for _, tt := range []struct{ pattern, event, want string }{
		{"logs-suricata.eve-prod", `{}`, "logs-suricata.eve-prod"},
		{"logs-%{+yyyy.MM.dd}", `{}`, "logs-2026.03.05"},
		{"%{[event.dataset]}-%{+yyyy}", `{"event":{"dataset":"Zeek.DNS"}}`, "zeek.dns-2026"},
		{"%{[event][dataset]}", `{"event.dataset":"x"}`, "x"},
		{"a-%{[n]}", `{"n":17}`, "a-17"},
		{"a-%{[n]}", `{"n":null}`, "a-unknown"},
		{"a-%{[n]}", "", "a-unknown"},
		{"a-%{[n]:other}", `{"n":{}}`, "a-other"},
		{"%{[n]}", `{"n":".security"}`, "security"},
		{"%{[n]}", `{"n":"...."}`, "unknown"},
		{"%{[n]}", `{"n":"a/b*c d\"\u0000"}`, "a_b_c_d__"},
		{"<logs-{now/d}>", `{}`, "<logs-{now/d}>"},
	} {
		name, err := ParseIndexName(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		a := newIndexing(t, "x")
		got := ""
		if tt.event == "" {
			got = name.Name(nil, when)
		} else if v, err := a.parser.Parse(tt.event); err != nil {
			t.Fatal(err)
		} else {
			got = name.Name(v, when)
		}
		if got != tt.want {
			t.Errorf("%s of %s: got %q, want %q", tt.pattern, tt.event, got, tt.want)
		}
	}
	for _, bad := range []string{"", "Logs", "a b", "-a", "_a", ".a", "a%{", "a%{}", "a%{x}", "a%{+}", "a%{+xx}", "a%{[]}", "a*", "a,b"} {
		if _, err := ParseIndexName(bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

// FuzzDocuments makes documents of anything: two lines of JSON for each line.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"a":"evil.example","@timestamp":1}`+"\n"), "%{[a]}")
	f.Add([]byte("{\"message\":\"\xff\"}\n\n{}\n{ }"), "x")
	f.Add([]byte("\ufeff@cee:{\"a\":1}"), "%{[a]}-%{+yyyy}")
	f.Fuzz(func(t *testing.T, data []byte, pattern string) {
		if _, err := ParseIndexName(pattern); err != nil {
			pattern = "x"
		}
		if len(data) == 0 || len(data) > 1<<16 {
			return
		}
		a := newIndexing(t, pattern)
		b := whole(string(data))
		_, documents := items(t, a.Process(nil, b))
		lines := bytes.Count(data, lineFeed)
		if data[len(data)-1] != '\n' {
			lines++
		}
		if len(documents) != lines {
			t.Fatalf("%d lines became %d documents", lines, len(documents))
		}
		for _, d := range documents {
			if d["@timestamp"] == nil && !bytes.Contains(data, []byte("@timestamp")) {
				t.Fatalf("%v has no time", d)
			}
		}
	})
}

// After a panic, lines leave as documents that nobody has looked into, so that what leaves is items all the same.
func TestPlainDocuments(t *testing.T) {
	a := newIndexing(t, "logs")
	b := &Block{Data: []byte("{\"a\":\"evil.example\"}\nevil.example\n"), Lines: 2, Name: "x.log", ID: "7", Line: 1}
	actions, documents := items(t, a.Plain(nil, b))
	if len(actions) != 2 || documents[0]["a"] != "evil.example" || documents[1]["message"] != "evil.example" {
		t.Errorf("%v %v", actions, documents)
	}
	for i, d := range documents {
		if d["threat"] != nil || d["@timestamp"] == nil || actions[i]["_id"] == nil {
			t.Errorf("%v %v", actions[i], d)
		}
	}
}

// Of an index that cannot hold entries documents get the summary of them.
func TestFlatDocuments(t *testing.T) {
	a := newIndexing(t, "%{[event.dataset]}")
	a.Documents.Flat = func(index string) bool { return index == "old" }
	data := "{\"event\":{\"dataset\":\"old\"},\"d\":\"evil.example\"}\n{\"event\":{\"dataset\":\"new\"},\"d\":\"evil.example\"}\n"
	_, documents := items(t, a.Process(nil, &Block{Data: []byte(data), Lines: 2, Name: "-", Line: 1}))
	for i, d := range documents {
		summary := d["iocpipe"].(map[string]any)
		if (d["threat"] != nil) != (i == 1) || summary["verdict"] != "malicious" || summary["matches"] != 1.0 {
			t.Errorf("%v", d)
		}
	}
}
