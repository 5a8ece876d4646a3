package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iocpipe/enrich"
	"iocpipe/lookup/lookuptest"
	"iocpipe/sinks/elastic"
)

// A storeNode is a real server, and an index on it for one test.
type storeNode struct {
	*elastic.Client
	t          *testing.T
	url, index string
}

// onStoreNodes runs a test on each real node that the environment names; there must be one where all tests are run.
func onStoreNodes(t *testing.T, test func(*testing.T, *storeNode)) {
	t.Helper()
	found := false
	for _, name := range []string{"IOCPIPE_OPENSEARCH", "IOCPIPE_OPENSEARCH2", "IOCPIPE_ES7", "IOCPIPE_ES8", "IOCPIPE_ES9"} {
		address := os.Getenv(name)
		if address == "" {
			continue
		}
		found = true
		t.Run(strings.TrimPrefix(name, "IOCPIPE_"), func(t *testing.T) {
			client, err := elastic.New(elastic.Config{URLs: []string{address}})
			if err != nil {
				t.Fatal(err)
			}
			n := &storeNode{client, t, address, fmt.Sprintf("enrich-cmd-%d-%d", os.Getpid(), time.Now().UnixNano())}
			t.Cleanup(func() {
				_, _ = n.Do(context.Background(), http.MethodDelete, "/"+n.index+"*", nil, nil)
				n.dropHits()
			})
			test(t, n)
		})
	}
	if !found && os.Getenv("CI") == "true" {
		t.Fatal("no IOCPIPE_OPENSEARCH, IOCPIPE_ES… names a node: sinks/elastic/elastictest/nodes.sh starts them")
	}
	if !found {
		t.Skip("no node: sinks/elastic/elastictest/nodes.sh starts them")
	}
}

func (n *storeNode) dropHits() {
	for _, path := range []string{"/_data_stream/", "/"} {
		_, _ = n.Do(context.Background(), http.MethodDelete, path+enrich.HitStream, nil, nil)
	}
}

func (n *storeNode) must(method, path string, query url.Values, body string) []byte {
	n.t.Helper()
	answer, err := n.Do(context.Background(), method, path, query, []byte(body))
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer.Body
}

// A storedDocument is one as the node has it.
type storedDocument struct {
	Version int64           `json:"_version"`
	ID      string          `json:"_id"`
	Source  json.RawMessage `json:"_source"`
}

// all returns the documents of an index, as far as it is there.
func (n *storeNode) all(index string) []storedDocument {
	n.t.Helper()
	if answer, err := n.Do(context.Background(), http.MethodPost, "/"+index+"/_refresh", nil, nil); err != nil || answer.Err() != nil {
		return nil
	}
	var answer struct {
		Hits struct{ Hits []storedDocument }
	}
	if err := json.Unmarshal(n.must(http.MethodPost, "/"+index+"/_search", nil, `{"size":10000,"version":true}`), &answer); err != nil {
		n.t.Fatal(err)
	}
	return answer.Hits.Hits
}

// loadFlows stores n documents under the _ids 0, 1, …, ten an hour, of which every fourth has a bad address.
func (n *storeNode) loadFlows(count int) {
	n.t.Helper()
	n.must(http.MethodPut, "/"+n.index, nil, `{"settings":{"number_of_shards":3,"number_of_replicas":0},"mappings":{"properties":{"source":{"properties":{"ip":{"type":"ip"}}},"n":{"type":"integer"}}}}`)
	var body strings.Builder
	for i := range count {
		ip := address(i)
		if i%4 == 0 {
			ip = "203.0.113.7"
		}
		at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 6 * time.Minute)
		fmt.Fprintf(&body, "{\"index\":{\"_index\":%q,\"_id\":\"%d\"}}\n{\"@timestamp\":%q,\"source\":{\"ip\":%q},\"n\":%d}\n", n.index, i, at.Format(time.RFC3339), ip, i)
	}
	n.must(http.MethodPost, "/_bulk", url.Values{"refresh": {"true"}}, body.String())
}

// list writes a list of bad values and returns its path.
func list(t *testing.T, values ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bad.txt")
	writeList(t, path, values...)
	return path
}

func writeList(t *testing.T, path string, values ...string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(strings.Join(values, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// goesOn is what a job says that goes on where another ended.
const goesOn = "going on with a run that was not finished"

// A job that is killed again and again enriches every document once, and no other; the run after the last does nothing.
func TestEnrichIndexKilled(t *testing.T) {
	onStoreNodes(t, func(t *testing.T, n *storeNode) {
		const documents = 6000
		n.loadFlows(documents)
		args := []string{"enrich-index", "--es-url", n.url, "--index", n.index, "--intel", list(t, "203.0.113.7"), "--state", t.TempDir(), "--throttle", "300", "--checkpoint-every", "500"}
		killed, resumed := 0, false
		for ; ; killed++ {
			p := start(t, args...)
			select {
			case <-p.ended:
			case <-time.After(time.Duration(200+rand.IntN(700)+150*killed) * time.Millisecond): // longer each time, or a slow machine would never get anywhere
				p.kill()
				<-p.ended
				resumed = resumed || strings.Contains(p.err.String(), goesOn)
				continue
			}
			if resumed = resumed || strings.Contains(p.err.String(), goesOn); killed > 4 && !resumed {
				t.Errorf("killed %d times, and it always began anew: %s", killed, p.err.String())
			}
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Fatalf("exit code %d: %s", code, p.err.String())
			}
			break
		}
		t.Logf("killed %d times", killed)
		for _, d := range n.all(n.index) {
			var i int
			_, _ = fmt.Sscan(d.ID, &i)
			if want := int64(1 + (4-i%4)/4); d.Version != want || strings.Count(string(d.Source), `"matched"`) != int(want-1) {
				t.Errorf("document %s has version %d, want %d: %s", d.ID, d.Version, want, d.Source)
			}
		}
		code, _, stderr := runWith(t, "", append(args, "--restart")...)
		if code != 0 || !strings.Contains(stderr, " 0 updated") {
			t.Errorf("the run after: %d %s", code, stderr)
		}
	})
}

// Somebody else who writes the same documents meanwhile loses nothing, and nothing of theirs is lost.
func TestEnrichIndexBesideWriter(t *testing.T) {
	onStoreNodes(t, func(t *testing.T, n *storeNode) {
		const documents = 2000
		n.loadFlows(documents)
		var wrote [documents]atomic.Int64
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for round := int64(1); ctx.Err() == nil; round++ {
				i := rand.IntN(documents/4) * 4
				body := fmt.Sprintf(`{"doc":{"theirs":{"round":%d}}}`, round)
				answer, err := n.Do(context.Background(), http.MethodPost, fmt.Sprintf("/%s/_update/%d", n.index, i), url.Values{"retry_on_conflict": {"5"}}, []byte(body))
				if err == nil && answer.Err() == nil {
					wrote[i].Store(round)
				}
			}
		}()
		code, _, stderr := runWith(t, "", "enrich-index", "--es-url", n.url, "--index", n.index, "--intel", list(t, "203.0.113.7"), "--state", "none", "--throttle", "300")
		stop()
		<-done
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		t.Log(stderr)
		for _, d := range n.all(n.index) {
			var s struct {
				N      int
				Theirs struct{ Round int64 }
				Threat struct{ Enrichments []json.RawMessage }
			}
			if err := json.Unmarshal(d.Source, &s); err != nil {
				t.Fatal(err)
			}
			if s.Theirs.Round != wrote[s.N].Load() {
				t.Errorf("document %d lost round %d: %s", s.N, wrote[s.N].Load(), d.Source)
			}
			if want := (4 - s.N%4) / 4; len(s.Threat.Enrichments) != want {
				t.Errorf("document %d has %d entries, want %d", s.N, len(s.Threat.Enrichments), want)
			}
		}
	})
}

// A dry run says what it would take and touches nothing; a job with more questions than allowed does not begin.
func TestEnrichIndexPlans(t *testing.T) {
	onStoreNodes(t, func(t *testing.T, n *storeNode) {
		n.loadFlows(400)
		source := maliciousOnly(t)
		args := []string{"enrich-index", "--es-url", n.url, "--index", n.index, "--fields", "source.ip", "--intel", source.URL, "--rate", "1/10s", "--burst", "5", "--state", "none"}
		code, stdout, stderr := runWith(t, "", append(args, "--dry-run")...)
		if want := "400 documents in 1 of 1 indices; 300 values, 0 of them known, 300 to ask, which takes 49 min 10 s\n"; code != 0 || stdout != want {
			t.Errorf("%d %q %s", code, stdout, stderr)
		}
		code, _, stderr = runWith(t, "", append(args, "--max-questions", "299", "--dry-run")...)
		if code != 0 || !strings.Contains(stderr, "it would not begin: too many questions") {
			t.Errorf("%d %s", code, stderr)
		}
		code, _, stderr = runWith(t, "", append(args, "--max-questions", "299")...)
		if code != 1 || !strings.Contains(stderr, "too many questions: 300, which would take 49m0s; at most 299 were allowed") {
			t.Errorf("%d %s", code, stderr)
		}
		for _, d := range n.all(n.index) {
			if d.Version != 1 {
				t.Errorf("document %s was written", d.ID)
			}
		}
	})
}

// What a source answers gets onto the documents, asked once.
func TestEnrichIndexAsks(t *testing.T) {
	onStoreNodes(t, func(t *testing.T, n *storeNode) {
		n.loadFlows(100)
		source := maliciousOnly(t, address(1), address(2))
		args := []string{"enrich-index", "--es-url", n.url, "--index", n.index, "--intel", source.URL, "--rate", "1000/1s", "--burst", "50", "--state", t.TempDir()}
		code, _, stderr := runWith(t, "", args...)
		if code != 0 || !strings.Contains(stderr, "\n2 documents read, 2 updated") || len(source.Asked()) != 75 {
			t.Errorf("%d %s", code, stderr)
		}
		if code, _, stderr = runWith(t, "", args...); code != 0 || !strings.Contains(stderr, " 0 updated") || len(source.Asked()) != 75 {
			t.Errorf("again: %d %s; %d questions", code, stderr, len(source.Asked()))
		}
	})
}

// flow is an event of a host that meets an address.
func flow(host, ip string) string {
	return fmt.Sprintf(`{"@timestamp":%q,"host":{"name":%q},"source":{"ip":%q}}`, time.Now().UTC().Format(time.RFC3339), host, ip)
}

// A verdict that comes late becomes a document for each host that met the indicator; so does one of a list that is new.
func TestLateHitsOnNodes(t *testing.T) {
	onStoreNodes(t, func(t *testing.T, n *storeNode) {
		web := func(i int) string { return fmt.Sprintf("web-%d-%s", i, n.index) } // there are hits of other runs
		source, release := heldBack(t, lookuptest.JSON(reportMalicious))
		bad := list(t, "203.0.113.1")
		p := start(t, "--intel", source.URL, "--intel", bad, "--state", t.TempDir(), "--to", "elasticsearch", "--es-url", n.url, "--es-index", n.index)
		p.say("%s\n%s\n%s", flow(web(1), address(1)), flow(web(2), address(1)), flow(web(3), "203.0.113.9"))
		p.until("the documents", func() bool { return len(n.all(n.index)) == 3 && len(source.Asked()) > 0 })
		release()
		writeList(t, bad, "203.0.113.1", "203.0.113.9")
		hits := func() []storedDocument {
			return slices.DeleteFunc(n.all(enrich.HitStream), func(d storedDocument) bool { return !strings.Contains(string(d.Source), n.index) })
		}
		p.until("three hits", func() bool { return len(hits()) == 3 })
		p.end(0)
		hosts := make(map[string]string)
		for _, d := range hits() {
			var s struct {
				Event  struct{ Kind string }
				Host   struct{ Name string }
				Threat struct {
					Enrichments []struct{ Indicator struct{ IP string } }
				}
				Related struct{ IP []string }
				Iocpipe struct {
					Verdict string
					Hit     struct {
						Index, Query string
						Hosts        []string
						Late         bool
						Events       int
					}
				}
			}
			if err := json.Unmarshal(d.Source, &s); err != nil {
				t.Fatal(err)
			}
			hosts[s.Host.Name] = s.Threat.Enrichments[0].Indicator.IP
			hit := s.Iocpipe.Hit
			if s.Event.Kind != "alert" || s.Iocpipe.Verdict != "malicious" || hit.Index != n.index || hit.Events != 1 || !hit.Late ||
				!strings.HasPrefix(hit.Query, "related.ip : ") || len(s.Related.IP) != 1 || len(hit.Hosts) != 1 {
				t.Errorf("%s", d.Source)
			}
		}
		if hosts[web(1)] != address(1) || hosts[web(2)] != address(1) || hosts[web(3)] != "203.0.113.9" {
			t.Errorf("%v", hosts)
		}
	})
}

// With --es-late update the stored documents get the verdict, each once; those of before the run stay.
func TestLateUpdatesOnNodes(t *testing.T) {
	onStoreNodes(t, func(t *testing.T, n *storeNode) {
		source, release := heldBack(t, lookuptest.JSON(reportMalicious))
		bad := list(t, "203.0.113.1")
		p := start(t, "--intel", source.URL, "--intel", bad, "--state", t.TempDir(), "--to", "elasticsearch", "--es-url", n.url, "--es-index", n.index, "--es-late", "update", "--stats")
		old := strings.Replace(flow("web-1", address(1)), `"@timestamp":"20`, `"@timestamp":"19`, 1)
		p.say("%s\n%s\n%s\n%s", flow("web-1", address(1)), flow("web-2", address(1)), flow("web-3", "203.0.113.9"), flow("web-4", "203.0.113.10"))
		p.until("the documents", func() bool { return len(n.all(n.index)) == 4 && len(source.Asked()) > 0 })
		n.must(http.MethodPost, "/"+n.index+"/_doc", url.Values{"refresh": {"true"}}, strings.Replace(old, `"source"`, `"related":{"ip":["`+address(1)+`"]},"source"`, 1))
		release()
		writeList(t, bad, "203.0.113.1", "203.0.113.9")
		updated := func() (count int) {
			for _, d := range n.all(n.index) {
				if strings.Contains(string(d.Source), `"matched"`) {
					count++
				}
			}
			return count
		}
		p.until("an update", func() bool { return updated() >= 1 })
		p.end(0)
		for _, d := range n.all(n.index) {
			if is, want := d.Version == 2, strings.Contains(string(d.Source), `"matched"`); is != want || d.Version > 2 {
				t.Errorf("version %d of %s", d.Version, d.Source)
			}
		}
		if updated() != 3 {
			t.Errorf("%d documents updated, want 3: %s", updated(), p.err.String())
		}
	})
}
