package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"iocpipe/sharedfile"
)

// FileName is the registry's usual name, beside the store.
const FileName = "feeds.json"

// A Registry is the feeds of this host, in the order in which they were added.
type Registry struct {
	Feeds []Feed `json:"feeds"`
}

// Load reads the registry at path. One that is not there is empty.
func Load(path string) (Registry, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Registry{}, nil
	}
	if err != nil {
		return Registry{}, err
	}
	var r Registry
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a newer version's settings must not be lost by writing it back
	if err := d.Decode(&r); err != nil {
		return Registry{}, fmt.Errorf("%s: %w; mend it, or remove it and add the feeds again", path, err)
	}
	for i := range r.Feeds {
		if err := r.Feeds[i].Validate(); err != nil {
			return Registry{}, fmt.Errorf("%s: feed %d: %w", path, i+1, err)
		}
	}
	return r, nil
}

// Change reads the registry at path, lets do change it and writes it back, while no other process may. When do fails,
// nothing is written.
func Change(ctx context.Context, path string, do func(*Registry) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	unlock, err := lock(ctx, path+".lock", nil)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := Load(path)
	if err != nil {
		return err
	}
	if err := do(&r); err != nil {
		return err
	}
	return r.write(path)
}

// write replaces the file at path, which is locked.
func (r *Registry) write(path string) error {
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return err
	}
	sharedfile.Sweep(path)
	return sharedfile.Replace(path, data.Bytes(), 0o640)
}

// Get returns the feed of that name, or nil.
func (r *Registry) Get(name string) *Feed {
	i := slices.IndexFunc(r.Feeds, func(f Feed) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Feeds[i]
}

// Add adds f, or gives the feed of that name the settings of f. It reports whether the name is new. A feed that comes
// from elsewhere under a name that is taken is refused.
func (r *Registry) Add(f Feed) (isNew bool, err error) {
	if err := f.Validate(); err != nil {
		return false, err
	}
	old := r.Get(f.Name)
	if old == nil {
		r.Feeds = append(r.Feeds, f)
		return true, nil
	}
	if old.From != f.From {
		return false, fmt.Errorf("there is a feed %s, from %s: give this one another name, or remove that one", f.Name, old.From)
	}
	readAlike := old.Format == f.Format && (old.Votes == nil) == (f.Votes == nil) && (f.Votes == nil || *old.Votes == *f.Votes)
	f.State = old.State
	if !readAlike { // what is held was read by the old settings
		f.SHA256, f.ETag, f.LastModified, f.Of = "", "", "", ""
	}
	*old = f
	return false, nil
}

// Remove removes the feed of that name.
func (r *Registry) Remove(name string) error {
	if r.Get(name) == nil {
		return r.unknown(name)
	}
	r.Feeds = slices.DeleteFunc(r.Feeds, func(f Feed) bool { return f.Name == name })
	return nil
}

func (r *Registry) unknown(name string) error {
	var have []string
	for _, f := range r.Feeds {
		have = append(have, f.Name)
	}
	if len(have) == 0 {
		return fmt.Errorf("there is no feed %s: there is none at all", name)
	}
	return fmt.Errorf("there is no feed %s: there are %s", name, strings.Join(have, ", "))
}
