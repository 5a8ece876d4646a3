package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iocpipe/sinks/elastic"
)

// A bulkServer keeps the documents that it is sent, as Elasticsearch does.
type bulkServer struct {
	*httptest.Server
	mapping string                                               // of every index; empty: there is none yet
	refuse  func(r *http.Request, document string) (int, string) // may answer for the request, or with a document for it; 0 for no

	mu        sync.Mutex
	documents []map[string]any
	ids       map[string]bool
	calls     []string
}

func newBulkServer(t *testing.T) *bulkServer {
	s := &bulkServer{ids: make(map[string]bool)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *bulkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	if s.refuse != nil {
		if status, kind := s.refuse(r, ""); status != 0 {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"type":%q,"reason":"no"},"status":%d}`, kind, status)
			return
		}
	}
	switch {
	case r.URL.Path == "/":
		fmt.Fprint(w, `{"version":{"number":"8.15.5"}}`)
	case r.URL.Path == "/_bulk":
		s.bulk(w, r)
	case r.Method == http.MethodGet && s.mapping == "":
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"type":"index_not_found_exception"},"status":404}`)
	case r.Method == http.MethodGet:
		fmt.Fprintf(w, `{"index":{"mappings":%s}}`, s.mapping)
	default:
		if body, _ := io.ReadAll(unpacked(r)); s.mapping == "" {
			var index struct{ Mappings json.RawMessage }
			_ = json.Unmarshal(body, &index)
			s.mapping = string(index.Mappings)
		}
		fmt.Fprint(w, `{"acknowledged":true}`)
	}
}

func unpacked(r *http.Request) io.Reader {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return r.Body
	}
	body, err := gzip.NewReader(r.Body)
	if err != nil {
		return strings.NewReader("")
	}
	return body
}

func (s *bulkServer) bulk(w io.Writer, r *http.Request) {
	in := bufio.NewScanner(unpacked(r))
	in.Buffer(nil, 64<<20)
	var items []string
	for in.Scan() {
		var action struct {
			Create struct {
				ID string `json:"_id"`
			}
		}
		_ = json.Unmarshal(in.Bytes(), &action)
		in.Scan()
		status, kind := 201, ""
		if s.refuse != nil {
			status, kind = s.refuse(r, in.Text())
		}
		switch id := action.Create.ID; {
		case kind != "":
			items = append(items, fmt.Sprintf(`{"create":{"status":%d,"error":{"type":%q,"reason":"no"}}}`, status, kind))
			continue
		case id != "" && s.ids[id]:
			items = append(items, `{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}`)
			continue
		default:
			s.ids[id] = true
		}
		var document map[string]any
		if err := json.Unmarshal(in.Bytes(), &document); err != nil {
			document = map[string]any{"broken": in.Text()}
		}
		s.documents = append(s.documents, document)
		items = append(items, `{"create":{"status":201}}`)
	}
	fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(items, ","))
}

// runWith runs iocpipe in this process, with a home of its own.
func runWith(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", "")
	var out, errs bytes.Buffer
	code = run(args, console{strings.NewReader(stdin), &out, &errs})
	return code, out.String(), errs.String()
}

const testIntel = "../../testdata/intel"

// A plain access log goes into a data stream without a single dead letter, with its time, file, offset and host.
func TestElasticAccessLog(t *testing.T) {
	s := newBulkServer(t)
	log := "../../testdata/logs/web.log"
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Count(data, []byte("\n"))
	for range 2 { // the second time, all is there
		code, _, stderr := runWith(t, "", "--intel", testIntel, "--to", "elasticsearch", "--es-url", s.URL, "--stats", log)
		if code != exitOK || !strings.Contains(stderr, "0 dead letters") {
			t.Fatalf("exit %d: %s", code, stderr)
		}
	}
	if len(s.documents) != lines {
		t.Errorf("%d documents of %d lines", len(s.documents), lines)
	}
	for _, d := range s.documents {
		if d["@timestamp"] == nil || d["message"] == nil || d["log"] == nil || d["host"] == nil {
			t.Fatalf("a document lacks what it should have: %v", d)
		}
	}
	if !strings.Contains(s.mapping, `"nested"`) {
		t.Errorf("the index was made with the mapping %s", s.mapping)
	}
}

// What is refused is kept, byte for byte, and goes in when it is sent again, once.
func TestDeadLettersAndReplay(t *testing.T) {
	s := newBulkServer(t)
	s.refuse = func(_ *http.Request, document string) (int, string) {
		if strings.Contains(document, "poison") {
			return 400, "document_parsing_exception"
		}
		return 0, ""
	}
	dead := filepath.Join(t.TempDir(), "dead.ndjson")
	input := "{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"n\": 1.0,\"poison\":1}\n{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"poison\":}\nfine \xff poison\nfine\n"
	code, _, stderr := runWith(t, input, "--intel", testIntel, "--to", "elasticsearch", "--es-url", s.URL, "--dead-letter", dead)
	if code != exitOK || !strings.Contains(stderr, "4 documents: 1 indexed, 0 there already, 3 dead letters in "+dead) {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	letters, _ := os.ReadFile(dead)
	if want := `"document":{"@timestamp":"2026-01-01T00:00:00Z","n": 1.0,"poison":1}}`; !strings.Contains(string(letters), want) {
		t.Errorf("no %s in %s", want, letters)
	}
	again := func(wantCode int, want string) {
		t.Helper()
		if code, out, stderr := runWith(t, "", "replay", "--es-url", s.URL, dead); code != wantCode || !strings.HasPrefix(out, want) {
			t.Fatalf("exit %d: %s%s", code, out, stderr)
		}
	}
	again(exitFailed, "3 documents: 0 indexed, 0 there already, 3 refused again")
	if kept, err := os.ReadFile(dead + ".again"); err != nil || bytes.Count(kept, []byte("\n")) != 3 {
		t.Errorf("what was refused again: %s, %v", kept, err)
	}
	s.refuse = nil
	again(exitOK, "3 documents: 3 indexed, 0 there already, 0 refused again")
	again(exitOK, "3 documents: 0 indexed, 3 there already, 0 refused again")
	if len(s.documents) != 4 {
		t.Errorf("%d documents", len(s.documents))
	}
}

// Where threat.enrichments is a plain object, which cannot be changed, documents get the summary, and people are told.
func TestElasticFlat(t *testing.T) {
	s := newBulkServer(t)
	s.mapping = `{"properties":{"threat":{"properties":{"enrichments":{"properties":{"indicator":{"type":"object"}}}}}}}`
	code, _, stderr := runWith(t, "from 198.51.100.42\nfrom 198.51.100.42\n", "--intel", testIntel, "--to", "elasticsearch", "--es-url", s.URL, "--es-index", "old")
	if code != exitOK || strings.Count(stderr, "index old: threat.enrichments is mapped as object") != 1 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, d := range s.documents {
		summary, _ := d["iocpipe"].(map[string]any)
		if d["threat"] != nil || summary["verdict"] != "malicious" || summary["matches"] != 1.0 {
			t.Errorf("document %v", d)
		}
	}
}

// Who may only create documents is not kept from it by the look at the mapping.
func TestElasticFewRights(t *testing.T) {
	s := newBulkServer(t)
	s.refuse = func(r *http.Request, document string) (int, string) {
		if r.URL.Path != "/_bulk" && document == "" {
			return 403, "security_exception"
		}
		return 0, ""
	}
	code, _, stderr := runWith(t, "from 198.51.100.42\n", "--intel", testIntel, "--to", "elasticsearch", "--es-url", s.URL)
	if code != exitOK || len(s.documents) != 1 || s.documents[0]["threat"] == nil || strings.Count(stderr, "mapping cannot be read") != 1 {
		t.Errorf("exit %d, %v: %s", code, s.documents, stderr)
	}
}

func TestElasticNotLetIn(t *testing.T) {
	s := newBulkServer(t)
	s.refuse = func(*http.Request, string) (int, string) { return 401, "security_exception" }
	t.Setenv("IOCPIPE_ES_API_KEY", "top:secret")
	dead := filepath.Join(t.TempDir(), "dead.ndjson")
	code, _, stderr := runWith(t, "one\ntwo\n", "--intel", testIntel, "--to", "elasticsearch", "--es-url", s.URL, "--dead-letter", dead)
	letters, _ := os.ReadFile(dead)
	if code != exitFailed || !strings.Contains(stderr, "401") || strings.Contains(stderr, "secret") || bytes.Count(letters, []byte("\n")) != 2 {
		t.Errorf("exit %d: %s; kept: %s", code, stderr, letters)
	}
}

// A 401 that says nothing of who answers, as a proxy's does, ends the program, from the start and in mid-stream, and what was
// read of a pipe is kept.
func TestElasticBare401(t *testing.T) {
	const lines = 2000
	for name, c := range map[string]struct {
		hidden bool // GET / is refused, too
		taken  int  // bulk requests before
		args   []string
	}{
		"from the start, nothing is known": {hidden: true},
		"from the start, as is known":      {hidden: true, args: []string{"--es-flavor", "opensearch"}},
		"after GET /":                      {},
		"in mid-stream":                    {taken: 2},
	} {
		t.Run(name, func(t *testing.T) {
			indexed, requests := 0, 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/" && !c.hidden:
					fmt.Fprint(w, `{"version":{"number":"2.19.0","distribution":"opensearch"}}`)
				case c.taken > 0 && r.URL.Path != "/_bulk":
					w.WriteHeader(http.StatusForbidden)
				case r.URL.Path == "/_bulk" && requests < c.taken:
					requests++
					body, _ := io.ReadAll(unpacked(r))
					n := bytes.Count(body, []byte("\n")) / 2
					indexed += n
					fmt.Fprintf(w, `{"errors":false,"items":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"create":{"status":201}},`, n), ","))
				default:
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			t.Cleanup(s.Close)
			dead := filepath.Join(t.TempDir(), "dead.ndjson")
			code, _, stderr := runWith(t, strings.Repeat("a line\n", lines), append([]string{"--intel", testIntel, "--to", "elasticsearch", "--es-url", s.URL,
				"--es-bulk-items", "100", "--dead-letter", dead}, c.args...)...)
			letters, _ := os.ReadFile(dead)
			if n := bytes.Count(letters, []byte("\n")); code != exitFailed || indexed+n != lines || !strings.Contains(stderr, "401 Unauthorized") || c.taken > 0 != (indexed > 0) {
				t.Errorf("exit %d, %d indexed, %d kept: %s", code, indexed, n, stderr)
			}
		})
	}
}

// What was read of a pipe when nothing is taken any more is kept, to the last line.
func TestElasticGivesUp(t *testing.T) {
	s := newBulkServer(t)
	s.Close()
	dead := filepath.Join(t.TempDir(), "dead.ndjson")
	const lines = 30_000
	code, _, stderr := runWith(t, strings.Repeat("a line\n", lines), "--intel", testIntel, "--to", "elasticsearch", "--es-url", s.URL,
		"--es-give-up", "1s", "--dead-letter", dead)
	letters, _ := os.ReadFile(dead)
	if n := bytes.Count(letters, []byte("\n")); code != exitFailed || n != lines || !strings.Contains(stderr, "30,000 without an outcome in "+dead) {
		t.Fatalf("exit %d, %d kept: %s", code, n, stderr)
	}
	up := newBulkServer(t)
	if code, out, stderr := runWith(t, "", "replay", "--es-url", up.URL, dead); code != exitOK || len(up.documents) != lines {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
}

// What was seen of an index does not hold for ever.
func TestElasticLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(elasticOutput)
		o.ctx, o.stop = context.WithCancelCause(t.Context())
		go o.forgetAll()
		o.indices.Store("x", elastic.Nested)
		time.Sleep(lookAgain - time.Second)
		if m := o.mapping("x"); m != elastic.Nested {
			t.Errorf("too soon: %v", m)
		}
		time.Sleep(2 * time.Second)
		if m, ok := o.indices.Load("x"); ok {
			t.Errorf("%v still holds", m)
		}
		o.stop(nil)
	})
}

func TestElasticUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{}, "--es-url: name a node"},
		{[]string{"--es-url", "https://u:p@h:9200"}, "must not hold a user or password"},
		{[]string{"--es-url", "http://h", "--es-cloud-id", "x"}, "give one of them"},
		{[]string{"--es-url", "http://h", "--es-cert", "x"}, "--es-cert and --es-key"},
		{[]string{"--es-url", "http://h", "--es-flavor", "solr"}, `--es-flavor "solr"`},
		{[]string{"--es-url", "http://h", "--es-index", "Logs"}, `--es-index "Logs"`},
		{[]string{"--es-url", "http://h", "--es-index", "cluster:logs"}, `--es-index "cluster:logs"`},
		{[]string{"--es-url", "http://h", "--es-password-file", "x"}, "--es-user is missing"},
		{[]string{"--es-url", "http://h", "--es-api-key-file", "/nowhere"}, "API key: open /nowhere"},
		{[]string{"--es-url", "http://h", "--state", "none"}, "--dead-letter: name the file"},
		{[]string{"--es-url", "http://h", "--dead-letter", "/nowhere/x"}, "--dead-letter: open /nowhere/x"},
		{[]string{"--es-url", "http://h", "--output", "ndjson"}, "--output ndjson"},
		{[]string{"--es-url", "http://h", "--late", "follow"}, "--late follow"},
	} {
		code, _, stderr := runWith(t, "x\n", append([]string{"--intel", testIntel, "--to", "elasticsearch"}, c.args...)...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "u:p") {
			t.Errorf("%v: exit %d: %s", c.args, code, stderr)
		}
	}
}

func TestPrintTemplates(t *testing.T) {
	for _, flavor := range []string{"elasticsearch", "opensearch"} {
		code, out, stderr := runWith(t, "", "--es-print-templates", "--es-flavor", flavor)
		if code != exitOK {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(out, "PUT "), "\nPUT ") {
			path, body, _ := strings.Cut(part, "\n")
			if !json.Valid([]byte(body)) {
				t.Errorf("%s: %s is no JSON: %s", flavor, path, body)
			}
		}
		if strings.Contains(out, "ecs@mappings") == (flavor == "opensearch") {
			t.Errorf("%s: %s", flavor, out)
		}
	}
}

func TestSetup(t *testing.T) {
	s := newBulkServer(t)
	code, out, stderr := runWith(t, "", "--es-setup", "--es-url", s.URL)
	if code != exitOK || out != "installed _component_template/iocpipe@mappings\ninstalled _index_template/iocpipe\n" {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	if want := "GET / PUT /_component_template/iocpipe@mappings PUT /_index_template/iocpipe"; strings.Join(s.calls, " ") != want {
		t.Errorf("calls %v", s.calls)
	}
}
