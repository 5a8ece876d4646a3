package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iocpipe/sinks/elastic/elastictest"
)

// onNodes runs a test on each kind of node. name is an index for the test, which is deleted at its end.
func onNodes(t *testing.T, test func(t *testing.T, kind elastictest.Kind, url, name string)) {
	for _, kind := range elastictest.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			url := elastictest.Node(t, kind)
			name := strings.ToLower(strings.NewReplacer("/", ".", "_", ".").Replace(t.Name()))
			clean := func() { elastictest.Call(t, "DELETE", url+"/"+name, "") }
			clean()
			t.Cleanup(clean)
			test(t, kind, url, name)
		})
	}
}

// streamName is a data stream for a test. Elasticsearch's core has no API to delete one, so each run has its own.
func streamName(name string) string {
	return fmt.Sprintf("logs-iocpipe.%s-%d", strings.ReplaceAll(name, "-", "."), time.Now().UnixNano())
}

func toNode(url, target string, args ...string) []string {
	return append([]string{"--intel", "../../testdata/intel/blocklist.txt", "--to", "elasticsearch", "--es-url", url, "--es-index", target}, args...)
}

// logLines returns the lines of files.
func logLines(t *testing.T, files []string) (all []string) {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			all = append(all, strings.TrimRight(line, "\r\n"))
		}
	}
	return all
}

// TestElasticLogs writes real logs to a new index and to a new data stream of each server, twice. Each line is a document,
// none is refused, and the second time all are there already.
func TestElasticLogs(t *testing.T) {
	files, err := filepath.Glob("../../testdata/logs/*.log")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "json.log") || strings.HasSuffix(f, "ecs.log") })
	want := logLines(t, files)
	slices.Sort(want)
	onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
		targets := []string{name}
		if kind.DataStreams() {
			iocpipe(t, 0, "", "--to", "elasticsearch", "--es-url", url, "--es-setup")
			targets = append(targets, streamName(name))
		}
		for _, target := range targets {
			for run, says := range []string{fmt.Sprintf("%d indexed, 0 there already, 0 dead letters", len(want)), fmt.Sprintf("0 indexed, %d there already, 0 dead letters", len(want))} {
				_, stderr := iocpipe(t, 0, "", append(toNode(url, target, "--state", t.TempDir(), "--stats"), files...)...)
				if !strings.Contains(stderr, says) {
					t.Errorf("%s, run %d: it does not say %q but\n%s", target, run, says, stderr)
				}
			}
			checkLogs(t, elastictest.Documents(t, url, target), want)
		}
	})
}

// checkLogs compares the messages of documents with lines, and wants the other fields of text lines.
func checkLogs(t *testing.T, stored []elastictest.Stored, want []string) {
	t.Helper()
	var got []string
	for _, d := range stored {
		message, _ := d.Source["message"].(string)
		got = append(got, message)
		for _, path := range [][]any{{"@timestamp"}, {"log", "file", "path"}, {"log", "offset"}, {"host", "name"}} {
			if elastictest.At(d.Source, path...) == nil {
				t.Fatalf("%v: no %v", d.Source, path)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d documents, want the %d lines", len(got), len(want))
	}
}

// TestElasticEvents writes JSON events: what they hold stays as it is, and a nested query tells what belongs together.
func TestElasticEvents(t *testing.T) {
	events := []string{
		`{"@timestamp":"2026-03-01T10:00:00Z","n":1234567890123456789,"source":{"ip":"198.51.100.42"},"destination":{"ip":"10.0.0.1"}}`,
		`{"@timestamp":"2026-03-01T10:00:01Z","n":2,"source":{"ip":"10.0.0.2"},"destination":{"ip":"198.51.100.42"}}`,
		// Both fields, but the malicious entry is that of the source; the domain's is another.
		`{"@timestamp":"2026-03-01T10:00:02Z","n":3,"source":{"ip":"198.51.100.42"},"destination":{"domain":"example.net"}}`,
		`{"@timestamp":"2026-03-01T10:00:03Z","n":4,"source":{"ip":"10.0.0.3"}}`,
	}
	onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
		target := name
		if kind.DataStreams() {
			iocpipe(t, 0, "", "--to", "elasticsearch", "--es-url", url, "--es-setup")
			target = streamName(name)
		}
		iocpipe(t, 0, strings.Join(events, "\n")+"\n", toNode(url, target, "--state", t.TempDir())...)
		if stored := elastictest.Documents(t, url, target); len(stored) != len(events) {
			t.Fatalf("%d documents: %v", len(stored), stored)
		}
		find := func(field, verdict string) (found []string) {
			answer := elastictest.Must(t, "POST", url+"/"+target+"/_search", fmt.Sprintf(`{"sort":["@timestamp"],"query":{"nested":{"path":"threat.enrichments","query":{"bool":{"filter":[
				{"term":{"threat.enrichments.matched.field":%q}},{"term":{"threat.enrichments.iocpipe.verdict":%q}}]}}}}}`, field, verdict))
			hits, _ := elastictest.At(answer, "hits", "hits").([]any)
			for _, hit := range hits {
				found = append(found, fmt.Sprint(elastictest.At(hit, "_source", "@timestamp")))
			}
			return found
		}
		for _, query := range []struct {
			field, verdict string
			want           []string
		}{
			{"source.ip", "malicious", []string{"2026-03-01T10:00:00Z", "2026-03-01T10:00:02Z"}},
			{"destination.ip", "malicious", []string{"2026-03-01T10:00:01Z"}},
			{"destination.domain", "related", []string{"2026-03-01T10:00:02Z"}},
			{"destination.domain", "malicious", nil},
			{"source.ip", "related", nil},
		} {
			if got := find(query.field, query.verdict); !slices.Equal(got, query.want) {
				t.Errorf("%s %s: %q, want %q", query.field, query.verdict, got, query.want)
			}
		}
	})
}

// TestElasticTemplates: --es-setup installs the templates, and nothing else does.
func TestElasticTemplates(t *testing.T) {
	const component = "/_component_template/iocpipe@mappings"
	onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
		version := func() any {
			return elastictest.At(elastictest.Must(t, "GET", url+component, ""), "component_templates", 0, "component_template", "version")
		}
		elastictest.Must(t, "PUT", url+component, `{"template":{},"version":7}`)
		iocpipe(t, 0, "a line\n", toNode(url, name, "--state", t.TempDir())...)
		if v := version(); v != 7.0 {
			t.Errorf("after writing, the template is of version %v", v)
		}
		setup := []string{"--to", "elasticsearch", "--es-url", url, "--es-setup"}
		if !kind.DataStreams() {
			if _, stderr := iocpipe(t, 1, "", setup...); !strings.Contains(stderr, "unknown field [data_stream]") {
				t.Errorf("it says %q", stderr)
			}
			return
		}
		iocpipe(t, 0, "", setup...)
		if v := version(); v != 1.0 {
			t.Errorf("after --es-setup, the template is of version %v", v)
		}
		simulated := elastictest.Must(t, "POST", url+"/_index_template/_simulate_index/logs-iocpipe.x-y", "")
		if kind := elastictest.At(simulated, "template", "mappings", "properties", "threat", "properties", "enrichments", "type"); kind != "nested" {
			t.Errorf("threat.enrichments is %v", kind)
		}
	})
}

// TestElasticReplay: documents that an index refuses are dead letters, byte for byte; when it takes them, replay sends
// them, once.
func TestElasticReplay(t *testing.T) {
	good, bad := `{"@timestamp":"2026-03-01T10:00:00Z","n":1}`, `{"@timestamp": "2026-03-01T10:00:00Z" ,"n":2,"extra":1.10,"u":"\u00e9"}`
	onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
		elastictest.Must(t, "PUT", url+"/"+name, `{"mappings":{"dynamic":"strict","properties":{"@timestamp":{"type":"date"},"n":{"type":"long"}}}}`)
		letters := filepath.Join(t.TempDir(), "letters.ndjson")
		_, stderr := iocpipe(t, 0, good+"\n"+bad+"\n"+good+"\n", toNode(url, name, "--state", "none", "--dead-letter", letters)...)
		documents := readLetters(t, letters)
		if len(documents) != 1 || string(documents[0]) != bad {
			t.Fatalf("dead letters: %q; stderr: %s", documents, stderr)
		}
		if stored := elastictest.Documents(t, url, name); len(stored) != 2 {
			t.Errorf("stored: %v", stored)
		}
		elastictest.Must(t, "PUT", url+"/"+name+"/_mapping", `{"properties":{"extra":{"type":"double"},"u":{"type":"keyword"}}}`)
		for range 2 { // the second time it is there
			text, _ := os.ReadFile(letters)
			again := letters + ".copy"
			replaceFile(t, again, string(text))
			iocpipe(t, 0, "", "replay", again, "--es-url", url)
		}
		stored := elastictest.Documents(t, url, name)
		if len(stored) != 3 || !slices.ContainsFunc(stored, func(d elastictest.Stored) bool { return d.Source["u"] == "é" }) {
			t.Errorf("after replay: %v", stored)
		}
	})
}

// TestElasticConflict: a field of another type refuses documents, and the others of their requests are taken.
func TestElasticConflict(t *testing.T) {
	var in bytes.Buffer
	const n = 2500
	for i := range n {
		value := any(i)
		if i%10 == 3 {
			value = "no number"
		}
		text, _ := json.Marshal(map[string]any{"i": i, "n": value}) // of numbers and strings
		in.Write(append(text, '\n'))
	}
	onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
		elastictest.Must(t, "PUT", url+"/"+name, `{"mappings":{"properties":{"n":{"type":"long"}}}}`)
		letters := filepath.Join(t.TempDir(), "letters.ndjson")
		iocpipe(t, 0, in.String(), toNode(url, name, "--state", "none", "--dead-letter", letters)...)
		if got := len(readLetters(t, letters)); got != n/10 {
			t.Errorf("%d dead letters, want %d", got, n/10)
		}
		if got := len(elastictest.Documents(t, url, name)); got != n-n/10 {
			t.Errorf("%d documents, want %d", got, n-n/10)
		}
	})
}

// TestElasticRollover moves an alias to another index while lines flow. What the new one refuses because it lacks it, it gets;
// where threat.enrichments is mapped otherwise, be it by the first document after the rollover, the others get the summary.
func TestElasticRollover(t *testing.T) {
	const known = `"@timestamp":{"type":"date"},"message":{"type":"text"},"host":{"type":"object","dynamic":true},"related":{"type":"object","dynamic":true}`
	for name, c := range map[string]struct {
		mapping string // of the index after the rollover
		nested  bool
	}{
		"ready":  {`{"properties":{"threat":{"properties":{"enrichments":{"type":"nested"}}}}}`, true},
		"bare":   {`{}`, false},
		"strict": {`{"dynamic":"strict","properties":{` + known + `}}`, true},
		"object": {`{"properties":{"threat":{"properties":{"enrichments":{"properties":{"x":{"type":"keyword"}}}}}}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			onNodes(t, func(t *testing.T, kind elastictest.Kind, url, alias string) {
				first, second := alias+"-000001", alias+"-000002"
				clean := func() {
					elastictest.Call(t, "DELETE", url+"/"+first, "")
					elastictest.Call(t, "DELETE", url+"/"+second, "")
				}
				clean()
				t.Cleanup(clean)
				elastictest.Must(t, "PUT", url+"/"+second, `{"mappings":`+c.mapping+`,"aliases":{"`+alias+`":{}}}`) // the last by name
				elastictest.Must(t, "PUT", url+"/"+first, `{"aliases":{"`+alias+`":{"is_write_index":true}}}`)
				p := start(t, toNode(url, alias, "--state", t.TempDir())...)
				n := 0
				write := func() {
					n++
					fmt.Fprintf(p.in, "line %d from 198.51.100.42\n", n)
					p.until("a document", func() bool { return len(elastictest.Documents(t, url, alias)) == n })
				}
				write()
				elastictest.Must(t, "POST", url+"/_aliases", `{"actions":[{"add":{"index":"`+first+`","alias":"`+alias+`","is_write_index":false}},
					{"add":{"index":"`+second+`","alias":"`+alias+`","is_write_index":true}}]}`)
				write() // shows that there was a rollover, unless it is refused
				write()
				_ = p.in.Close()
				p.end(0)
				if got := len(elastictest.Documents(t, url, first)); got != 1 {
					t.Errorf("%d documents before the rollover", got)
				}
				last := elastictest.Documents(t, url, second)
				if len(last) != 2 {
					t.Fatalf("%d documents after the rollover: %s", len(last), &p.err)
				}
				for _, d := range last {
					if whole := elastictest.At(d.Source, "threat", "enrichments") != nil; d.Source["message"] == "line 3 from 198.51.100.42" && whole != c.nested {
						t.Errorf("%v; it says %s", d.Source, &p.err)
					}
				}
				mapped := elastictest.At(elastictest.Must(t, "GET", url+"/"+second, ""), second, "mappings", "properties", "threat", "properties", "enrichments", "type")
				if (mapped == "nested") != c.nested {
					t.Errorf("threat.enrichments is %v", mapped)
				}
			})
		})
	}
}

// TestElasticOtherMapping writes to indices that map threat.enrichments as something that refuses entries, as a user who may not look at
// the mapping, and as one who may, while it changes: events get the summary, and none is a dead letter.
func TestElasticOtherMapping(t *testing.T) {
	lines := strings.Repeat("from 198.51.100.42\nfrom 10.0.0.1\n", 20)
	for name, mapping := range map[string]string{
		"text":   `{"threat":{"properties":{"enrichments":{"type":"text"}}}}`,
		"long":   `{"threat":{"properties":{"enrichments":{"type":"long"}}}}`,
		"threat": `{"threat":{"type":"keyword"}}`,
		"inside": `{"threat":{"properties":{"enrichments":{"type":"nested","properties":{"indicator":{"properties":{"name":{"type":"date"}}}}}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			onNodes(t, func(t *testing.T, kind elastictest.Kind, url, index string) {
				for _, may := range []bool{true, false} {
					elastictest.Call(t, "DELETE", url+"/"+index, "")
					elastictest.Must(t, "PUT", url+"/"+index, `{"mappings":{"properties":`+mapping+`}}`)
					_, stderr := iocpipe(t, 0, lines, toNode(onlyBulk(t, url, may), index, "--state", "none", "--dead-letter", filepath.Join(t.TempDir(), "letters"))...)
					stored := elastictest.Documents(t, url, index)
					summaries := 0
					for _, d := range stored {
						if elastictest.At(d.Source, "iocpipe", "verdict") == "malicious" {
							summaries++
						}
					}
					if len(stored) != 40 || summaries != 20 || strings.Count(stderr, "threat.enrichments") == 0 || strings.Count(stderr, "\n") > 2 {
						t.Errorf("may look %t: %d documents, %d of them with a verdict; it says %s", may, len(stored), summaries, stderr)
					}
				}
			})
		})
	}
}

// onlyBulk returns the URL of a server that passes to a node what one may do who may write documents, and no more unless
// may says so.
func onlyBulk(t *testing.T, node string, may bool) string {
	to, err := url.Parse(node)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if may || r.URL.Path == "/_bulk" || r.URL.Path == "/" {
			pass.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":{"type":"security_exception","reason":"no permissions for [indices:admin/get]"},"status":403}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestElasticUnfit writes to what events must not, or cannot, be written to: all lines are kept, with the reason.
func TestElasticUnfit(t *testing.T) {
	for name, c := range map[string]struct {
		indices []string // to be made, for the alias NAME
		target  string
		want    string
		not     []elastictest.Kind
	}{
		"no write index": {[]string{`/NAME-1 {"aliases":{"NAME":{}}}`, `/NAME-2 {"aliases":{"NAME":{}}}`}, "NAME", "of which none has is_write_index", nil},
		"time series": {[]string{`/NAME-1 {"settings":{"index.mode":"time_series","index.routing_path":["h"]},"mappings":{"properties":{"h":{"type":"keyword","time_series_dimension":true}}}}`},
			"NAME-1", "time-series mode", []elastictest.Kind{elastictest.OpenSearch, elastictest.OpenSearch2, elastictest.ES7}},
		"blocked":   {[]string{`/NAME-1 {"settings":{"index.blocks.write":true}}`}, "NAME-1", "blocked by: [FORBIDDEN/8/index write (api)]", nil},
		"read only": {[]string{`/NAME-1 {}`, `/NAME-1/_settings {"index.blocks.read_only":true}`}, "NAME-1", "blocked by: [FORBIDDEN/5/index read-only (api)]", nil},
	} {
		t.Run(name, func(t *testing.T) {
			onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
				if slices.Contains(c.not, kind) {
					t.Skipf("%s has no such indices", kind)
				}
				named := strings.NewReplacer("NAME", name)
				clean := func() {
					elastictest.Call(t, "PUT", url+"/"+name+"-1/_settings", `{"index.blocks.read_only":null}`)
					elastictest.Call(t, "DELETE", url+"/"+name+"-1", "")
					elastictest.Call(t, "DELETE", url+"/"+name+"-2", "")
				}
				clean()
				t.Cleanup(clean)
				for _, call := range c.indices {
					path, body, _ := strings.Cut(named.Replace(call), " ")
					elastictest.Must(t, "PUT", url+path, body)
				}
				letters := filepath.Join(t.TempDir(), "letters.ndjson")
				_, stderr := iocpipe(t, 0, strings.Repeat("from 198.51.100.42\n", 20), toNode(url, named.Replace(c.target), "--state", "none", "--dead-letter", letters)...)
				if n := len(readLetters(t, letters)); n != 20 || strings.Count(stderr, c.want) != 1 {
					t.Errorf("%d letters; it says %s", n, stderr)
				}
			})
		})
	}
}

// TestElasticLogsDB writes to an index that makes its _source up: events are there once however often they are sent, enrich-index
// updates them, once, and both say what kind of index it is.
func TestElasticLogsDB(t *testing.T) {
	url, name := elastictest.Node(t, elastictest.ES9), "testelasticlogsdb"
	elastictest.Call(t, "DELETE", url+"/"+name, "")
	t.Cleanup(func() { elastictest.Call(t, "DELETE", url+"/"+name, "") })
	// The usual codec of such an index needs a native library, which Maven's jars do not hold.
	elastictest.Must(t, "PUT", url+"/"+name, `{"settings":{"index.mode":"logsdb","index.codec":"default"},"mappings":{"properties":{"source":{"properties":{"ip":{"type":"ip"}}}}}}`)
	events := `{"@timestamp":"2026-03-01T10:00:00Z","id":"a","host":{"name":"h"},"source":{"ip":"198.51.100.42"},"tags":["b","a","b"]}
{"@timestamp":"2026-03-01T10:00:01Z","id":"b","host":{"name":"h"},"source":{"ip":"203.0.113.77"}}
`
	for range 2 {
		_, stderr := iocpipe(t, 0, events, toNode(url, name, "--state", t.TempDir(), "--es-id-field", "id")...)
		if strings.Count(stderr, "its _source is made up") != 1 {
			t.Errorf("it says %s", stderr)
		}
	}
	if stored := elastictest.Documents(t, url, name); len(stored) != 2 {
		t.Errorf("%d documents", len(stored))
	}
	for _, updated := range []string{" 1 updated", " 0 updated"} {
		_, stderr := iocpipe(t, 0, "", "enrich-index", "--es-url", url, "--index", name, "--state", "none", "--intel", list(t, "203.0.113.77"))
		if !strings.Contains(stderr, updated) || !strings.Contains(stderr, "its _source is made up") {
			t.Errorf("want%s; it says %s", updated, stderr)
		}
	}
	for _, d := range elastictest.Documents(t, url, name) {
		if elastictest.At(d.Source, "threat", "enrichments") == nil || elastictest.At(d.Source, "iocpipe", "verdict") != "malicious" {
			t.Errorf("%v", d.Source)
		}
	}
}

// TestElasticBareTemplate writes to a data stream whose template lacks the mapping: the stream has it, and that the index after
// the next rollover will not is said.
func TestElasticBareTemplate(t *testing.T) {
	onNodes(t, func(t *testing.T, kind elastictest.Kind, url, name string) {
		if kind != elastictest.OpenSearch && kind != elastictest.OpenSearch2 {
			t.Skipf("%s has no API for data streams", kind)
		}
		template, stream := url+"/_index_template/"+name, fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
		elastictest.Must(t, "PUT", template, `{"index_patterns":["`+name+`-*"],"data_stream":{},"priority":900}`)
		t.Cleanup(func() {
			elastictest.Call(t, "DELETE", url+"/_data_stream/"+stream, "")
			elastictest.Call(t, "DELETE", template, "")
		})
		for _, says := range []int{1, 0} {
			_, stderr := iocpipe(t, 0, "from 198.51.100.42\n", toNode(url, stream, "--state", t.TempDir())...)
			if strings.Count(stderr, "its template lacks threat.enrichments") != says {
				t.Errorf("it says %s", stderr)
			}
			body, err := json.Marshal(map[string]any{"index_patterns": []string{name + "-*"}, "data_stream": map[string]any{}, "priority": 900, "composed_of": []string{"iocpipe@mappings"}})
			if err != nil {
				t.Fatal(err)
			}
			iocpipe(t, 0, "", "--to", "elasticsearch", "--es-url", url, "--es-setup")
			elastictest.Must(t, "PUT", template, string(body))
		}
		for _, d := range elastictest.Documents(t, url, stream) {
			if elastictest.At(d.Source, "threat", "enrichments") == nil {
				t.Errorf("%v", d.Source)
			}
		}
	})
}
