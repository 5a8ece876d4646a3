// Package elastictest is the ground that everything that writes to Elasticsearch and OpenSearch is tested on: real nodes
// ([Node], [Start]), and a server that fails on demand ([Faulty]).
package elastictest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A Kind is a server of one product and generation, as nodes.sh calls it.
type Kind string

// The kinds. OpenSearch is whole; of Elasticsearch there is the core, without scripts, and without GET / from 8 on, and in 7
// without data streams.
const (
	OpenSearch  Kind = "opensearch"  // 3.8
	OpenSearch2 Kind = "opensearch2" // 2.19, the generation of the Wazuh Indexer
	ES7         Kind = "es7"         // 7.17
	ES8         Kind = "es8"         // 8.15
	ES9         Kind = "es9"         // 9.0
)

// Secure is OpenSearch 3.4 with its security plugin: https, users and roles. Its user admin has the password admin.
const Secure Kind = "secure"

// Certificates returns the folder of the certificates of the [Secure] node that tests share: ca.pem of who signed them, and
// shipper.pem with shipper.key of a client.
func Certificates() string { return os.Getenv("IOCPIPE_SECURE_CERTS") }

// Kinds are those that every test is to pass on.
var Kinds = []Kind{OpenSearch, OpenSearch2, ES7, ES8, ES9}

// DataStreams reports whether nodes of this kind have them.
func (k Kind) DataStreams() bool { return k != ES7 }

// variable is where nodes.sh says that one runs.
func (k Kind) variable() string { return "IOCPIPE_" + strings.ToUpper(string(k)) }

// Node returns the URL of a running node that the tests share. Without one the test is skipped, and fails in CI.
func Node(t testing.TB, kind Kind) string {
	t.Helper()
	url := os.Getenv(kind.variable())
	if url == "" {
		missing := t.Skipf
		if os.Getenv("CI") == "true" {
			missing = t.Fatalf
		}
		missing(`no node of %s: set %s to its URL, as in: export $(sinks/elastic/elastictest/nodes.sh start DIR %[1]s)`, kind, kind.variable())
	}
	return url
}

// An Owned is a node of a test's own, which may do with it what others would mind.
type Owned struct {
	URL  string
	kind Kind
	dir  string
	t    testing.TB
}

// Start runs a node for this test alone, where a shared one of its kind runs, too; see [Node].
func Start(t testing.TB, kind Kind) *Owned {
	t.Helper()
	Node(t, kind) // else there are no jars
	dir, err := os.MkdirTemp("", "iocpipe-node")
	if err != nil {
		t.Fatal(err)
	}
	n := &Owned{kind: kind, dir: dir, t: t}
	t.Cleanup(func() {
		n.run("kill")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	n.Again()
	return n
}

// Again starts the node after [Owned.Stop] or [Owned.Kill], on the same port and with what it held.
func (n *Owned) Again() {
	n.t.Helper()
	_, url, _ := strings.Cut(n.run("start"), "=")
	n.URL = strings.TrimSpace(url)
}

// Stop ends the node in good order.
func (n *Owned) Stop() { n.run("stop") }

// Kill ends it with SIGKILL.
func (n *Owned) Kill() { n.run("kill") }

func (n *Owned) run(action string) string {
	n.t.Helper()
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(file), "nodes.sh"), action, n.dir, string(n.kind))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("nodes.sh %s: %v\n%s", action, err, stderr.Bytes())
	}
	return string(out)
}

// Call sends a request, with a body unless it is empty, and returns what a server answers. No answer, or one that is no
// JSON, ends the test; a status of failure does not.
func Call(t testing.TB, method, url, body string) (status int, answer map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if strings.HasSuffix(body, "\n") {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 0 && json.Unmarshal(text, &answer) != nil {
		t.Fatalf("%s %s: %s: no JSON: %.200s", method, url, res.Status, text)
	}
	return res.StatusCode, answer
}

// Must is [Call] for what has to succeed.
func Must(t testing.TB, method, url, body string) map[string]any {
	t.Helper()
	status, answer := Call(t, method, url, body)
	if status/100 != 2 {
		t.Fatalf("%s %s: %d: %v", method, url, status, answer)
	}
	return answer
}

// At returns what an answer holds under a path of names and, in arrays, of numbers; nil for nothing.
func At(v any, path ...any) any {
	for _, part := range path {
		switch at := part.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[at]
		case int:
			list, _ := v.([]any)
			if at >= len(list) {
				return nil
			}
			v = list[at]
		}
	}
	return v
}

// A Stored is a document that a node holds.
type Stored struct {
	Index, ID string
	Source    map[string]any
}

// Documents returns all that an index, a data stream or a pattern holds, of up to 10,000 documents.
func Documents(t testing.TB, url, target string) (all []Stored) {
	t.Helper()
	if status, _ := Call(t, "POST", url+"/"+target+"/_refresh", ""); status == http.StatusNotFound {
		return nil
	}
	answer := Must(t, "POST", url+"/"+target+"/_search", `{"size":10000,"track_total_hits":true}`)
	hits, _ := At(answer, "hits", "hits").([]any)
	if total := At(answer, "hits", "total", "value"); total != float64(len(hits)) {
		t.Fatalf("%s holds %v documents, which are too many for one answer", target, total)
	}
	for _, hit := range hits {
		index, _ := At(hit, "_index").(string)
		id, _ := At(hit, "_id").(string)
		source, _ := At(hit, "_source").(map[string]any)
		all = append(all, Stored{index, id, source})
	}
	return all
}
