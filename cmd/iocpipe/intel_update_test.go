package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/intel/local/feed"
	"iocpipe/lookup/lookuptest"
)

// Every known feed has a format that is read, and from a list in that format an indicator reaches the store.
func TestKnownFeedsReachTheStore(t *testing.T) {
	const samples = "../../intel/local/format/testdata/samples"
	lists := map[string]string{
		"urlhaus": "urlhaus.csv", "threatfox": "threatfox.csv", "malwarebazaar": "malwarebazaar.csv", "feodo": "feodo.csv",
		"spamhaus-drop": "drop.json", "ipsum": "ipsum.txt", "plain": "plain.txt", "misp-feed": "misp-hand.json", "otx": "otx-subscribed.json",
	}
	server := lookuptest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, rest, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
		file := lists[kind]
		if rest == "manifest.json" {
			file = rest
		}
		http.ServeFile(w, r, filepath.Join(samples, file))
	}))
	dir := t.TempDir()
	store, registry := filepath.Join(dir, "intel.store"), filepath.Join(dir, feed.FileName)
	var names []string
	err := feed.Change(t.Context(), registry, func(r *feed.Registry) error {
		for _, k := range feed.KnownFeeds() {
			if _, ok := lists[k.Format]; !ok {
				t.Errorf("%s: no sample of the format %s", k.Name, k.Format)
			}
			f := k.Feed
			f.From, f.KeyFrom = server.URL+"/"+f.Format, ""
			if f.KeyHeader == "" {
				f.KeyEnv = ""
			}
			names = append(names, f.Name)
			if _, err := r.Add(f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	results, err := feed.Update(t.Context(), registry, feed.Options{
		Formats: feedFormats(), Store: feedStore(store), Holds: heldSources(store), Getenv: func(string) string { return "key" },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Outcome != feed.Updated || r.Feed.Entries == 0 {
			t.Errorf("%s: %s, %v, %d entries, %d refused", r.Feed.Name, r.Outcome, r.Err, r.Feed.Entries, r.Feed.Refused)
		}
	}
	held := heldSources(store)
	for _, name := range names {
		if !held(name) {
			t.Errorf("the store has nothing of %s", name)
		}
	}
	s, err := local.Open(store)
	if err != nil {
		t.Fatal(err)
	}
	found := s.Find(extract.Key{Type: extract.IP, Value: "203.0.113.10"})
	if found.Verdict != intel.Malicious || found.Source != "threatfox" {
		t.Errorf("%+v", found)
	}
}
