package enrich

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/sinks/elastic"
)

// nodeVars are the variables that name real nodes, started by sinks/elastic/elastictest/nodes.sh.
var nodeVars = []string{"IOCPIPE_OPENSEARCH", "IOCPIPE_OPENSEARCH2", "IOCPIPE_ES7", "IOCPIPE_ES8", "IOCPIPE_ES9"}

// onNodes runs a test on each real node that the environment names. There must be one where all tests are run.
func onNodes(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	found := false
	for _, name := range nodeVars {
		if url := os.Getenv(name); url != "" {
			found = true
			t.Run(strings.TrimPrefix(name, "IOCPIPE_"), func(t *testing.T) { test(t, newNode(t, url)) })
		}
	}
	if !found && os.Getenv("CI") == "true" {
		t.Fatalf("none of %v names a node: sinks/elastic/elastictest/nodes.sh starts them", nodeVars)
	}
	if !found {
		t.Skip("no node: sinks/elastic/elastictest/nodes.sh starts them")
	}
}

// A node is a real server.
type node struct {
	*elastic.Client
	t     testing.TB
	index string // of this test alone
}

func newNode(t testing.TB, url string) *node {
	t.Helper()
	client, err := elastic.New(elastic.Config{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{client, t, fmt.Sprintf("enrich-%d-%d", os.Getpid(), time.Now().UnixNano())}
	t.Cleanup(func() { _, _ = client.Do(context.Background(), http.MethodDelete, "/"+n.index+"*", nil, nil) })
	return n
}

// must sends a request that is to succeed.
func (n *node) must(method, path string, query url.Values, body string) []byte {
	n.t.Helper()
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	answer, err := n.Do(context.Background(), method, path, query, b)
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer.Body
}

const testMapping = `{"settings":{"number_of_shards":%d,"number_of_replicas":0},"mappings":{"properties":{
	"@timestamp":{"type":"date"},"message":{"type":"text"},
	"source":{"properties":{"ip":{"type":"ip"}}},"dns":{"properties":{"question":{"properties":{"name":{"type":"keyword"}}}}}}}}`

func (n *node) create(shards int) {
	n.must(http.MethodPut, "/"+n.index, nil, fmt.Sprintf(testMapping, shards))
}

// load stores documents under the _ids 0, 1, ….
func (n *node) load(index string, documents ...string) {
	n.t.Helper()
	var body strings.Builder
	for i, d := range documents {
		fmt.Fprintf(&body, "{\"index\":{\"_index\":%q,\"_id\":\"%d\"}}\n%s\n", index, i, d)
	}
	answer := n.must(http.MethodPost, "/_bulk", url.Values{"refresh": {"true"}}, body.String())
	if strings.Contains(string(answer), `"errors":true`) {
		n.t.Fatalf("%.1000s", answer)
	}
}

// A stored is a document as the node has it.
type stored struct {
	Version int64           `json:"_version"`
	Index   string          `json:"_index"`
	ID      string          `json:"_id"`
	Source  json.RawMessage `json:"_source"`
}

// all returns the documents of an index by _id.
func (n *node) all(index string) map[string]stored {
	n.t.Helper()
	n.must(http.MethodPost, "/"+index+"/_refresh", nil, "")
	var answer struct{ Hits struct{ Hits []stored } }
	body := n.must(http.MethodPost, "/"+index+"/_search", nil, `{"size":10000,"version":true}`)
	if err := json.Unmarshal(body, &answer); err != nil {
		n.t.Fatal(err)
	}
	documents := make(map[string]stored)
	for _, s := range answer.Hits.Hits {
		documents[s.ID] = s
	}
	return documents
}

// hits returns how many documents match a query.
func (n *node) hits(query string) (count int) {
	n.t.Helper()
	n.must(http.MethodPost, "/"+n.index+"/_refresh", nil, "")
	var answer struct{ Count int }
	if err := json.Unmarshal(n.must(http.MethodPost, "/"+n.index+"/_count", nil, `{"query":`+query+`}`), &answer); err != nil {
		n.t.Fatal(err)
	}
	return answer.Count
}

// facts is a Knowledge that was told everything.
type facts struct {
	mu    sync.Mutex
	known map[extract.Key]intel.Finding
}

func newFacts(values ...string) *facts {
	f := &facts{known: make(map[extract.Key]intel.Finding)}
	for _, v := range values {
		f.learn(v, intel.Malicious)
	}
	return f
}

func (f *facts) learn(value string, verdict intel.Verdict) {
	key, ok := extract.ParseKey(value)
	if !ok {
		panic(value)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	report := &intel.Report{Known: true}
	f.known[key] = intel.Finding{Verdict: verdict, Origin: intel.FromLocal, Source: "facts", Report: report}
}

func (f *facts) Find(key extract.Key, _ time.Time) (intel.Finding, extract.Skip) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[key], extract.Worth
}

func (f *facts) Wanted(extract.Key, time.Time) (s lookup.Sighting, ok bool) { return s, false }

// options returns those of a job over the test's index.
func (n *node) options(know Knowledge) Options {
	ignored := extract.NewFields(nil, extract.DefaultIgnored, true)
	return Options{Index: n.index, Know: know, Scanner: extract.Scanner{Defang: extract.DefangCommon, Fields: ignored},
		Annotator: annotate.New(), Note: func(s string) { n.t.Log(s) },
		DeadLetters: func(l Letter) error { n.t.Logf("dead letter %s: %v", l.ID, &l.Error); return nil }}
}

// only makes a job look into these alone.
func (o Options) only(names ...string) Options {
	o.Fields, o.Scanner.Fields = names, extract.NewFields(names, nil, false)
	return o
}

// run runs a job to its end.
func run(t testing.TB, s Server, o Options) (Discovery, Counts) {
	t.Helper()
	j, d := begin(t, s, o)
	if err := j.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d, j.Counts()
}

// begin runs a job up to its writing.
func begin(t testing.TB, s Server, o Options) (*Job, Discovery) {
	t.Helper()
	j, err := Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := j.Discover(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return j, d
}
