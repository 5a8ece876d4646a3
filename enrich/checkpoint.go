package enrich

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"iocpipe/sharedfile"
)

// ErrSettings says that a job cannot be resumed: it was begun with other settings.
var ErrSettings = errors.New("an unfinished job was begun with other settings")

// A checkpoint is how far a job has come, kept in a file. What is after it is done again, which changes nothing that was
// done.
type checkpoint struct {
	Settings string                    `json:"settings"`
	Since    time.Time                 `json:"since,omitzero"` // of the first run: "the last day" must not move
	Indices  map[string]*indexProgress `json:"indices"`
	Counts   Counts                    `json:"counts"`
	Saved    time.Time                 `json:"saved"`

	path    string
	resumed bool
	before  Counts // of earlier runs
}

// An indexProgress is how far one index has come.
type indexProgress struct {
	UUID    string    `json:"uuid"` // another one under the same name begins anew
	Before  time.Time `json:"done_before,omitzero"`
	Untimed bool      `json:"untimed_done,omitempty"`
	Done    bool      `json:"done,omitempty"`
}

// openCheckpoint reads what an earlier run of the job has left at path; empty for none.
func openCheckpoint(path, settings string, since time.Time) (*checkpoint, error) {
	c := &checkpoint{Settings: settings, Since: since, Indices: make(map[string]*indexProgress), path: path}
	if path == "" {
		return c, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	var kept checkpoint
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to begin anew", path, err)
	}
	if kept.Settings != settings {
		return nil, fmt.Errorf("%w (%s)", ErrSettings, kept.Settings)
	}
	if kept.Indices == nil {
		kept.Indices = c.Indices
	}
	kept.path, kept.resumed, kept.before = path, true, kept.Counts
	return &kept, nil
}

// compare gives each target its progress; it is none for an index that was made anew.
func (c *checkpoint) compare(targets []*Target) {
	for _, t := range targets {
		p := c.Indices[t.Index]
		if p == nil || p.UUID != t.UUID {
			p = &indexProgress{UUID: t.UUID}
			c.Indices[t.Index] = p
		}
		t.progress = p
	}
}

// started reports whether some of the index is done.
func (p *indexProgress) started() bool { return p.Done || p.Untimed || !p.Before.IsZero() }

// pass notes that a window is done.
func (p *indexProgress) pass(w window) {
	if w.untimed {
		p.Untimed = true
	} else if !w.to.IsZero() {
		p.Before = w.to
	}
}

// save keeps the checkpoint: whole, or the one before.
func (c *checkpoint) save() error {
	if c.path == "" {
		return nil
	}
	c.Saved = time.Now().UTC()
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil { // numbers, strings and times always marshal
		panic(err)
	}
	return sharedfile.Replace(c.path, append(data, '\n'), 0o600)
}

// finish forgets the checkpoint of a job that has come to its end.
func (c *checkpoint) finish() error {
	if c.path == "" {
		return nil
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
