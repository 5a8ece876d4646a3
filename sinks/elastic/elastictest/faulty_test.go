package elastictest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const three = `{"create":{"_index":"x","_id":"1"}}
{"n":1}
{"create":{"_index":"x","_id":"2"}}
{"n":2}
{"create":{"_index":"x"}}
{"n":3}
`

// TestFaults says what a client sees of each fault, and what the server has done.
func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		fault  Fault
		seen   string // status and what became of the items, or what is wrong
		stored int
	}{
		{"fine", Fine, "200 [201 201 201]", 3},
		{"storm", Storm(2), "200 [429 201 429]", 1},
		{"reject", Reject(3), "200 [400 201 201]", 2},
		{"unavailable", Unavailable(1), "200 [503 503 503]", 0},
		{"flooded", Flooded, "200 [403 403 403]", 0},
		{"status", Status(503, "1"), "503 after 1", 0},
		{"status after", StatusAfter(502), "502 no JSON", 3},
		{"refused", Refused, "no answer", 0},
		{"reset", Reset, "200 cut off", 3},
		{"slow", Slow(time.Millisecond), "200 [201 201 201]", 3},
		{"fewer", Items(-1), "200 [201 201]", 3},
		{"none", Items(-9), "200 []", 3},
		{"more", Items(2), "200 [201 201 201 201 201]", 3},
		{"cut off", CutOff, "200 no JSON", 3},
		{"html", HTML, "200 no JSON", 0},
		{"garbage", Garbage, "200 [0 0 0]", 3},
		{"failure store", FailureStore(3), "200 [201 201 201]", 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := NewFaulty(t, AsOpenSearch)
			f.Next(test.fault)
			if seen := send(t, http.DefaultClient, f.URL, three); seen != test.seen {
				t.Errorf("a client sees %q, want %q", seen, test.seen)
			}
			if stored := f.Documents(); len(stored) != test.stored {
				t.Errorf("it holds %q, want %d", stored, test.stored)
			}
			if seen := send(t, http.DefaultClient, f.URL, three); f.Left() > 0 || !strings.HasPrefix(seen, "200 [") {
				t.Errorf("after it: %q", seen)
			}
		})
	}
}

// send posts a bulk body and returns what a client sees.
func send(t *testing.T, client *http.Client, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/_bulk", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return "no answer"
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	var answer struct {
		Items []map[string]struct{ Status int }
	}
	switch {
	case err != nil:
		return fmt.Sprint(res.StatusCode, " cut off")
	case json.Unmarshal(text, &answer) != nil:
		return fmt.Sprint(res.StatusCode, " no JSON")
	case res.StatusCode != http.StatusOK:
		return fmt.Sprint(res.StatusCode, " after ", res.Header.Get("Retry-After"))
	}
	statuses := []int{}
	for _, item := range answer.Items {
		status := 0
		for _, result := range item {
			status = result.Status
		}
		statuses = append(statuses, status)
	}
	return fmt.Sprint(res.StatusCode, " ", statuses)
}

// TestStall is never answered, until the client goes.
func TestStall(t *testing.T) {
	f := NewFaulty(t, AsElasticsearch)
	f.Next(Stall)
	client := http.Client{Timeout: 50 * time.Millisecond}
	if seen := send(t, &client, f.URL, three); seen != "no answer" || len(f.Documents()) != 3 {
		t.Errorf("a client sees %q; stored: %q", seen, f.Documents())
	}
}

func TestLimitAndGate(t *testing.T) {
	f := NewFaulty(t, AsElasticsearch)
	f.Limit(100)
	if seen := send(t, http.DefaultClient, f.URL, three); seen != "413 after " {
		t.Errorf("over the limit: %q", seen)
	}
	f.Limit(0)
	f.Gate(func(r *http.Request) (int, string) { return http.StatusUnauthorized, "missing credentials" })
	if seen := send(t, http.DefaultClient, f.URL, three); seen != "401 after " {
		t.Errorf("before the gate: %q", seen)
	}
	f.Gate(nil)
	if seen := send(t, http.DefaultClient, f.URL, three); seen != "200 [201 201 201]" {
		t.Errorf("behind it: %q", seen)
	}
}

// TestRenew changes the certificate under a client that trusts the first one's authority.
func TestRenew(t *testing.T) {
	f := NewFaultyTLS(t, AsElasticsearch)
	trusting := func() *http.Client {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(f.CA)
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	}
	client := trusting()
	if seen := send(t, client, f.URL, three); seen != "200 [201 201 201]" {
		t.Fatalf("before: %q", seen)
	}
	f.Renew(t)
	_, err := client.Get(f.URL)
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) {
		t.Errorf("after: %v", err)
	}
	if seen := send(t, trusting(), f.URL, three); seen != "200 [409 409 201]" {
		t.Errorf("with the new authority: %q", seen)
	}
}

// TestStore compares the in-memory server with what real nodes answer to the same requests.
func TestStore(t *testing.T) {
	f := NewFaulty(t, AsElasticsearch)
	servers := map[string]string{"faulty": f.URL}
	t.Run("real", func(t *testing.T) { servers["real"] = Node(t, ES8) })
	const index = "elastictest-store"
	bulk := func(action, document string) string {
		return action + "\n" + document + "\n"
	}
	for name, url := range servers {
		t.Run(name, func(t *testing.T) {
			if name == "real" {
				Call(t, "DELETE", url+"/"+index, "")
				Must(t, "PUT", url+"/"+index, `{"settings":{"number_of_replicas":0},"mappings":{"properties":{"ip":{"type":"ip"},"e":{"type":"nested","properties":{"a":{"type":"keyword"},"b":{"type":"keyword"}}}}}}`)
				t.Cleanup(func() { Call(t, "DELETE", url+"/"+index, "") })
			}
			do := func(action, document string) float64 {
				answer := Must(t, "POST", url+"/"+index+"/_bulk?refresh=true", bulk(action, document))
				for _, result := range At(answer, "items", 0).(map[string]any) {
					return At(result, "status").(float64)
				}
				return 0
			}
			check := func(what string, got any, want any) {
				t.Helper()
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %v", what, got, want)
				}
			}
			check("create", do(`{"create":{"_id":"1"}}`, `{"ip":"192.0.2.1","n":1,"e":[{"a":"x","b":"y"},{"a":"z","b":"w"}]}`), 201)
			check("again", do(`{"create":{"_id":"1"}}`, `{"n":9}`), 409)
			check("index", do(`{"index":{"_id":"2"}}`, `{"ip":"192.0.2.2","n":2}`), 201)
			check("over it", do(`{"index":{"_id":"2"}}`, `{"ip":["192.0.2.2","192.0.2.1"],"n":2}`), 200)
			check("update of none", do(`{"update":{"_id":"7"}}`, `{"doc":{"n":1}}`), 404)
			check("update without change", do(`{"update":{"_id":"1"}}`, `{"doc":{"n":1}}`), 200)
			check("update", do(`{"update":{"_id":"1"}}`, `{"doc":{"deep":{"m":1}}}`), 200)
			check("stale update", do(`{"update":{"_id":"1","if_seq_no":77,"if_primary_term":1}}`, `{"doc":{"n":5}}`), 409)
			check("bad document", do(`{"create":{"_id":"3"}}`, `{"n":`), 400)

			search := func(query string) (ids []any) {
				answer := Must(t, "POST", url+"/"+index+"/_search", `{"sort":["n"],"query":`+query+`}`)
				for _, hit := range At(answer, "hits", "hits").([]any) {
					ids = append(ids, At(hit, "_id"))
				}
				return ids
			}
			check("all", search(`{"match_all":{}}`), "[1 2]")
			check("term", search(`{"term":{"ip":"192.0.2.2"}}`), "[2]")
			check("terms", search(`{"terms":{"ip":["192.0.2.1","192.0.2.9"]}}`), "[1 2]")
			check("range", search(`{"range":{"n":{"gt":1,"lte":2}}}`), "[2]")
			check("bool", search(`{"bool":{"filter":[{"term":{"ip":"192.0.2.1"}}],"must_not":{"exists":{"field":"deep.m"}}}}`), "[2]")
			check("nested", search(`{"nested":{"path":"e","query":{"bool":{"must":[{"term":{"e.a":"x"}},{"term":{"e.b":"y"}}]}}}}`), "[1]")
			check("nested, of two entries", search(`{"nested":{"path":"e","query":{"bool":{"must":[{"term":{"e.a":"x"}},{"term":{"e.b":"w"}}]}}}}`), "[]")
			check("ids", search(`{"ids":{"values":["2","9"]}}`), "[2]")

			page := Must(t, "POST", url+"/"+index+"/_search", `{"size":1,"sort":["n"],"search_after":[1],"seq_no_primary_term":true}`)
			check("next page", At(page, "hits", "hits", 0, "_id"), "2")
			if At(page, "hits", "hits", 0, "_seq_no") == nil {
				t.Error("no sequence number")
			}
			aggs := Must(t, "POST", url+"/"+index+"/_search", `{"size":0,"aggs":{"v":{"composite":{"size":10,"sources":[{"k":{"terms":{"field":"ip"}}}]}}}}`)
			var buckets []any
			for _, b := range At(aggs, "aggregations", "v", "buckets").([]any) {
				buckets = append(buckets, At(b, "key", "k"), At(b, "doc_count"))
			}
			check("composite", buckets, "[192.0.2.1 2 192.0.2.2 1]")
			docs := Must(t, "POST", url+"/"+index+"/_mget", `{"docs":[{"_id":"1"},{"_id":"9"}]}`)
			check("mget", []any{At(docs, "docs", 0, "found"), At(docs, "docs", 0, "_source", "deep", "m"), At(docs, "docs", 1, "found")}, "[true 1 false]")
		})
	}
}

// TestDataStream: streams take what is created, and change through their backing index.
func TestDataStream(t *testing.T) {
	f := NewFaulty(t, AsElasticsearch)
	answer := Must(t, "POST", f.URL+"/_bulk", `{"create":{"_index":"logs-a-b"}}`+"\n{\"n\":1}\n"+`{"index":{"_index":"logs-a-b"}}`+"\n{\"n\":1}\n")
	if s := fmt.Sprint(At(answer, "items", 0, "create", "status"), At(answer, "items", 1, "index", "status")); s != "201 400" {
		t.Errorf("create and index: %s", s)
	}
	if index := At(answer, "items", 0, "create", "_index"); index != ".ds-logs-a-b-000001" {
		t.Errorf("it went to %v", index)
	}
	if stored := Documents(t, f.URL, "logs-a-b"); len(stored) != 1 {
		t.Errorf("it holds %v", stored)
	}
}

// TestSlow waits as long as it is told, no more.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &Exchange{r: (&http.Request{}).WithContext(t.Context())}
		start := time.Now()
		if !x.wait(time.Minute) || time.Since(start) != time.Minute {
			t.Errorf("waited %s", time.Since(start))
		}
	})
}
