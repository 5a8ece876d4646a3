package enrich

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"iocpipe/intel"
	"iocpipe/sinks/elastic"
)

var begun = time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC)

// events returns n documents, one a minute, of which every tenth has a bad address and every twenty-fifth a bad name in
// its message.
func events(n int) (documents []string) {
	for i := range n {
		at := begun.Add(time.Duration(i) * time.Minute).Format(time.RFC3339)
		ip := fmt.Sprintf("192.0.2.%d", i%200)
		if i%10 == 0 {
			ip = "203.0.113.7"
		}
		message := "nothing"
		if i%25 == 0 {
			message = "query for www[.]evil[.]example."
		}
		documents = append(documents, fmt.Sprintf(`{"@timestamp":%q,"source":{"ip":%q,"port":1234567890123456789},"message":%q,"event":{"kind":"event"}}`, at, ip, message))
	}
	return documents
}

const nestedQuery = `{"nested":{"path":"threat.enrichments","query":{"bool":{"filter":[
	{"term":{"threat.enrichments.matched.field":%q}},{"term":{"threat.enrichments.indicator.name":%q}}]}}}}`

// A job over an index with two shards: what is known is on the documents that hold it, nothing else was written, and a
// second run writes nothing.
func TestJobOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		n.create(2)
		n.load(n.index, events(2500)...)
		know := newFacts("203.0.113.7", "www.evil.example")
		d, c := run(t, n, n.options(know))
		if d.Documents != 2500 || c.Read != 2500 || c.Updated != 300 || c.DeadLetters+c.Conflicts+c.Gone != 0 {
			t.Fatalf("%+v %+v", d, c)
		}
		if got := n.hits(fmt.Sprintf(nestedQuery, "source.ip", "203.0.113.7")); got != 250 {
			t.Errorf("%d documents by address, want 250", got)
		}
		if got := n.hits(fmt.Sprintf(nestedQuery, "message", "www.evil.example")); got != 100 {
			t.Errorf("%d documents by name, want 100", got)
		}
		if got := n.hits(fmt.Sprintf(nestedQuery, "message", "203.0.113.7")); got != 0 {
			t.Errorf("%d documents by two entries' parts, want 0", got)
		}
		before := n.all(n.index)
		for id, s := range before {
			if (s.Version > 1) != strings.Contains(string(s.Source), "iocpipe") || s.Version > 2 {
				t.Errorf("document %s has version %d: %s", id, s.Version, s.Source)
			}
			if !strings.Contains(string(s.Source), "1234567890123456789") {
				t.Errorf("document %s lost digits: %s", id, s.Source)
			}
		}
		_, again := run(t, n, n.options(know))
		if again.Updated != 0 || again.Requests != 0 || again.Read != 2500 {
			t.Errorf("the second run: %+v", again)
		}
	})
}

// By fields that can be counted only the documents with something known are read.
func TestJobByFieldsOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		n.create(3)
		n.load(n.index, events(2500)...)
		know := newFacts("203.0.113.7", "www.evil.example")
		o := n.options(know).only("source.ip", "dns.question.name")
		d, c := run(t, n, o)
		if d.Counted != 1 || c.Read != 250 || c.Updated != 250 {
			t.Fatalf("%+v %+v", d, c)
		}
		if d.Known != 1 || d.Values < 180 {
			t.Errorf("%+v", d)
		}
		if _, again := run(t, n, o); again.Updated+again.Requests != 0 {
			t.Errorf("the second run: %+v", again)
		}
	})
}

// Documents written whole, and those of others: entries of another product stay where they are, ours go when nobody
// knows the value any more.
func TestOthersEntriesOnNodes(t *testing.T) {
	const other = `{"feed":{"name":"other"},"indicator":{"ip":"203.0.113.7"},"matched":{"field":"source.ip","id":"x"}}`
	for _, whole := range []bool{false, true} {
		onNodes(t, func(t *testing.T, n *node) {
			n.must(http.MethodPut, "/"+n.index, nil, `{"mappings":{"properties":{"threat":{"properties":{"enrichments":{"type":"nested"}}}}}}`)
			n.load(n.index, `{"@timestamp":"2026-03-04T09:00:00Z","source":{"ip":"203.0.113.7"},"threat":{"framework":"x","enrichments":[`+other+`]},"related":{"ip":"10.0.0.1"}}`,
				`{"@timestamp":"2026-03-04T09:00:00Z","source.ip":"203.0.113.7","threat.framework":"x","threat.enrichments":`+other+`}`,
				`{"source":{"ip":["203.0.113.7","203.0.113.8"]}}`)
			know := newFacts("203.0.113.7", "203.0.113.8")
			o := n.options(know)
			o.Whole = whole
			if _, c := run(t, n, o); c.Updated != 3 {
				t.Fatalf("%+v", c)
			}
			var first struct {
				Threat struct {
					Framework   string
					Enrichments []json.RawMessage
				}
				Related struct{ IP []string }
			}
			documents := n.all(n.index)
			if err := json.Unmarshal(documents["0"].Source, &first); err != nil {
				t.Fatal(err)
			}
			if len(first.Threat.Enrichments) != 2 || !sameJSON(first.Threat.Enrichments[0], []byte(other)) || first.Threat.Framework != "x" ||
				!slices.Equal(first.Related.IP, []string{"10.0.0.1", "203.0.113.7"}) {
				t.Errorf("%s", documents["0"].Source)
			}
			if s := string(documents["1"].Source); strings.Count(s, `"feed"`) != 2 || strings.Count(s, `"threat`) != 2 {
				t.Errorf("%s", s)
			}
			if _, c := run(t, n, o); c.Requests != 0 {
				t.Errorf("the second run: %+v", c)
			}
			know = newFacts("203.0.113.8")
			o.Know, o.Prune = know, true
			if _, c := run(t, n, o); c.Updated != 3 || c.DeadLetters != 0 {
				t.Fatalf("%+v", c)
			}
			documents = n.all(n.index)
			if s := string(documents["0"].Source); strings.Contains(s, "iocpipe") || strings.Count(s, `"matched"`) != 1 {
				t.Errorf("%s", s)
			}
			if s := string(documents["2"].Source); strings.Count(s, `"matched"`) != 1 || !strings.Contains(s, `"matches":1`) {
				t.Errorf("%s", s)
			}
		})
	}
}

// An index that maps threat.enrichments as an object gets the summary alone, once.
func TestFlatOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		n.must(http.MethodPut, "/"+n.index, nil, `{"mappings":{"properties":{"threat":{"properties":{"enrichments":{"properties":{"x":{"type":"keyword"}}}}}}}}`)
		n.load(n.index, `{"@timestamp":"2026-03-04T09:00:00Z","source":{"ip":"203.0.113.7"}}`)
		o := n.options(newFacts("203.0.113.7"))
		if _, c := run(t, n, o); c.Updated != 1 {
			t.Fatalf("%+v", c)
		}
		if s := string(n.all(n.index)["0"].Source); strings.Contains(s, "enrichments") || !strings.Contains(s, `"verdict":"malicious"`) {
			t.Error(s)
		}
		if _, c := run(t, n, o); c.Requests != 0 {
			t.Errorf("the second run: %+v", c)
		}
	})
}

// What cannot be written is left out, with the reason; the rest is done.
func TestRefusedOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		document := `{"@timestamp":"2026-03-04T09:00:00Z","source":{"ip":"203.0.113.7"}}`
		for _, suffix := range []string{"-good", "-blocked", "-closed"} {
			n.load(n.index+suffix, document)
		}
		n.must(http.MethodPut, "/"+n.index+"-blocked/_settings", nil, `{"index.blocks.write":true}`)
		n.must(http.MethodPost, "/"+n.index+"-closed/_close", nil, "")
		n.must(http.MethodPut, "/"+n.index+"-strict", nil, `{"mappings":{"dynamic":"strict","properties":{"@timestamp":{"type":"date"}}}}`)
		n.must(http.MethodPut, "/"+n.index+"-bare", nil, `{"mappings":{"_source":{"enabled":false}}}`)
		var notes []string
		o := n.options(newFacts("203.0.113.7"))
		o.Index, o.Note = n.index+"-*", func(s string) { notes = append(notes, s) }
		j, _ := begin(t, n, o)
		if err := j.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := j.Counts(); c.Updated != 1 || j.Left() != 4 {
			t.Errorf("%+v, %d left", c, j.Left())
		}
		for _, want := range []string{"closed: left out: it is closed", "index.blocks.write", "strict", "_source is disabled"} {
			if !strings.Contains(strings.Join(notes, "\n"), want) {
				t.Errorf("no word of %q in %q", want, notes)
			}
		}
	})
}

// An index that was force-merged is told of.
func TestMergedOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		for _, suffix := range []string{"-fresh", "-merged"} {
			n.load(n.index+suffix, `{"source":{"ip":"203.0.113.7"}}`)
		}
		n.must(http.MethodPost, "/"+n.index+"-merged/_forcemerge", url.Values{"max_num_segments": {"1"}}, "")
		var notes []string
		o := n.options(newFacts("203.0.113.7"))
		o.Index, o.Note = n.index+"-*", func(s string) { notes = append(notes, s) }
		if _, c := run(t, n, o); c.Updated != 2 || len(notes) != 1 || !strings.Contains(notes[0], "-merged: it was force-merged") {
			t.Errorf("%+v; it says %q", c, notes)
		}
	})
}

// Documents of a data stream are updated in the backing index that holds them, also after a rollover; the query and the time
// bound what is looked at.
func TestDataStreamOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		if _, version, _ := n.Flavor(t.Context()); strings.HasPrefix(version, "7.") {
			t.Skip("the core of 7.17 has no data streams")
		}
		n.must(http.MethodPut, "/_index_template/"+n.index, nil, fmt.Sprintf(`{"index_patterns":[%q],"data_stream":{},"priority":900,"template":{"settings":{"number_of_replicas":0},
			"mappings":{"properties":{"@timestamp":{"type":"date"},"message":{"type":"text"},"source":{"properties":{"ip":{"type":"ip"}}}}}}}`, n.index+"*"))
		t.Cleanup(func() {
			for _, path := range []string{"/_data_stream/" + n.index, "/_index_template/" + n.index} {
				_, _ = n.Do(context.Background(), http.MethodDelete, path, nil, nil)
			}
		})
		create := func(documents []string) {
			var body strings.Builder
			for _, d := range documents {
				fmt.Fprintf(&body, "{\"create\":{\"_index\":%q}}\n%s\n", n.index, d)
			}
			if answer := n.must(http.MethodPost, "/_bulk", url.Values{"refresh": {"true"}}, body.String()); strings.Contains(string(answer), `"errors":true`) {
				t.Fatalf("%.500s", answer)
			}
		}
		create(events(200))
		n.must(http.MethodPost, "/"+n.index+"/_rollover", nil, "")
		create(events(300))
		o := n.options(newFacts("203.0.113.7")).only("source.ip")
		o.Since = begun.Add(100 * time.Minute)
		d, c := run(t, n, o)
		if d.Documents != 300 || c.Updated != 30 || c.Read != 30 || c.DeadLetters != 0 {
			t.Fatalf("%+v %+v", d, c)
		}
		o.Since, o.Query = time.Time{}, []byte(`{"range":{"@timestamp":{"lt":"2026-03-04T10:00:00Z"}}}`)
		if d, c := run(t, n, o); d.Documents != 120 || c.Updated != 12 {
			t.Fatalf("%+v %+v", d, c)
		}
		o.Query = nil
		if _, c := run(t, n, o); c.Updated != 50-30-12 {
			t.Fatalf("%+v", c)
		}
		backing := make(map[string]int)
		for _, s := range n.all(n.index) {
			if s.Version == 2 {
				backing[s.Index]++
			}
		}
		if len(backing) != 2 {
			t.Errorf("updated: %v", backing)
		}
	})
}

// A document with a routing of its own is found and updated under it.
func TestRoutingOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		n.create(3)
		for i := range 20 {
			n.must(http.MethodPut, fmt.Sprintf("/%s/_doc/%d", n.index, i), url.Values{"routing": {fmt.Sprint("r", i)}, "refresh": {"true"}},
				`{"@timestamp":"2026-03-04T09:00:00Z","source":{"ip":"203.0.113.7"}}`)
		}
		if _, c := run(t, n, n.options(newFacts("203.0.113.7"))); c.Updated != 20 || c.Gone+c.DeadLetters != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// An index whose mapping hides values that are too long to be counted is read; so is one with several thousand values.
func TestLongAndManyValuesOnNodes(t *testing.T) {
	onNodes(t, func(t *testing.T, n *node) {
		n.must(http.MethodPut, "/"+n.index, nil, `{"mappings":{"properties":{"url":{"properties":{"original":{"type":"keyword","ignore_above":100}}}}}}`)
		var documents []string
		know := newFacts()
		for i := range 3000 {
			name := fmt.Sprintf("bad%d.example", i)
			if i%2 == 0 {
				know.learn(name, intel.Malicious)
			}
			documents = append(documents, fmt.Sprintf(`{"@timestamp":"2026-03-04T09:00:00Z","url":{"original":"http://%s/"}}`, name))
		}
		n.load(n.index, documents...)
		o := n.options(know).only("url.original")
		d, c := run(t, n, o)
		if c.Updated != 1500 {
			t.Fatalf("%+v %+v", d, c)
		}
		if flavor, _, _ := n.Flavor(t.Context()); flavor == elastic.Elasticsearch && (d.Counted != 1 || d.Values != 3000 || d.Known != 1500 || c.Read != 1500) {
			t.Errorf("%+v %+v", d, c)
		}
		n.must(http.MethodPut, "/"+n.index+"/_doc/long", url.Values{"refresh": {"true"}},
			`{"@timestamp":"2026-03-04T09:00:00Z","url":{"original":"http://bad4.example/`+strings.Repeat("x", 200)+`"}}`)
		if d, c := run(t, n, o); d.Counted != 0 || c.Read != 3001 || c.Updated != 1 {
			t.Fatalf("%+v %+v", d, c)
		}
	})
}
