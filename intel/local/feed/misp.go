package feed

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A feed of MISP is a folder of a web server: manifest.json tells the events, each of which is a file UUID.json (see
// pymisp/tools/feed.py in MISP/PyMISP). Events that were fetched are kept beside the registry, so that each is asked for
// only when the manifest gives it another timestamp.

// eventsDir is the folder, beside the registry, of the events that are kept.
const eventsDir = "feeds-events"

// An event is one line of a manifest.
type event struct {
	uuid, timestamp string
}

var (
	eventID   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	eventTime = regexp.MustCompile(`^[0-9]{1,19}$`)
)

// events gets the events of a feed of MISP whose folder, or manifest, is target.
func (d *download) events(ctx context.Context, target string) error {
	base, err := url.Parse(strings.TrimSuffix(target, "manifest.json"))
	if err != nil {
		return err
	}
	path, got, err := d.get(ctx, base.JoinPath("manifest.json").String(), d.known)
	if err != nil || d.unchanged {
		return err
	}
	data, err := readPage(path)
	if err != nil {
		return err
	}
	events, err := parseManifest(data)
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(d.dir), eventsDir, d.feed.Name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := d.allEvents(ctx, base, dir, events); err != nil {
		return err
	}
	if d.refused == 0 { // else the next update is to try again
		d.validators = got
	}
	return pruneEvents(dir, events)
}

// allEvents makes the events the parts of the content, in place of the manifest. Those that cannot be had are refused,
// unless they are most.
func (d *download) allEvents(ctx context.Context, base *url.URL, dir string, events []event) error {
	d.parts, d.bytes = nil, 0
	for _, e := range events {
		err := d.event(ctx, base, dir, e)
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil && !d.retryAfter.IsZero(): // the server has enough for now
			return fmt.Errorf("event %s: %w", e.uuid, err)
		case err != nil:
			d.refuse(Refusal{e.uuid, err.Error(), true})
		}
	}
	if d.refused*2 > len(events) {
		return fmt.Errorf("%d of %d events cannot be had; %s", d.refused, len(events), d.samples[0])
	}
	d.hash = sha256.New() // the downloads went through it; the names of the files say what is in them
	for _, p := range d.parts {
		_, _ = io.WriteString(d.hash, filepath.Base(p.path)) // a hash takes all
	}
	return nil
}

// parseManifest reads a manifest: an object from UUID to an object with a timestamp or, as older generators write it,
// to the timestamp. The events are in the order of their UUIDs.
func parseManifest(data []byte) (events []event, err error) {
	var manifest map[string]json.RawMessage
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	for uuid, about := range manifest {
		var full struct {
			Timestamp json.RawMessage `json:"timestamp"`
		}
		stamp := string(about)
		if json.Unmarshal(about, &full) == nil {
			stamp = string(full.Timestamp)
		}
		stamp = strings.Trim(stamp, `"`)
		if !eventID.MatchString(uuid) || !eventTime.MatchString(stamp) {
			return nil, fmt.Errorf("manifest.json: event %.80q: not a UUID and a timestamp", uuid)
		}
		events = append(events, event{strings.ToLower(uuid), stamp})
	}
	slices.SortFunc(events, func(a, b event) int { return strings.Compare(a.uuid, b.uuid) })
	return events, nil
}

// event adds an event as a part: the one that is kept, or else what the server says.
func (d *download) event(ctx context.Context, base *url.URL, dir string, e event) error {
	kept := filepath.Join(dir, e.fileName())
	if _, err := os.Stat(kept); err != nil {
		before := len(d.parts)
		path, _, err := d.get(ctx, base.JoinPath(e.uuid+".json").String(), validators{})
		d.parts = d.parts[:before]
		if err != nil {
			return err
		}
		if data, err := os.ReadFile(path); err != nil || !json.Valid(data) {
			return errors.Join(err, errors.New("not JSON"))
		}
		if err := os.Rename(path, kept); err != nil {
			return err
		}
	}
	info, err := os.Stat(kept)
	if err != nil {
		return err
	}
	d.bytes += info.Size()
	d.parts = append(d.parts, part{path: kept, name: e.uuid, format: "misp"})
	return nil
}

func (e event) fileName() string { return e.uuid + "-" + e.timestamp + ".json" }

// pruneEvents removes from dir what is not one of events.
func pruneEvents(dir string, events []event) error {
	wanted := make(map[string]bool)
	for _, e := range events {
		wanted[e.fileName()] = true
	}
	files, err := os.ReadDir(dir)
	for _, file := range files {
		if !wanted[file.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, file.Name())))
		}
	}
	return err
}

// sweepEvents removes the events of feeds that are not in r, beside whose file they are.
func (r *Registry) sweepEvents(path string) {
	dir := filepath.Join(filepath.Dir(path), eventsDir)
	feeds, _ := os.ReadDir(dir)
	for _, d := range feeds {
		if r.Get(d.Name()) == nil {
			_ = os.RemoveAll(filepath.Join(dir, d.Name())) // else the next update does
		}
	}
}
