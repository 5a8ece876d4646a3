package source

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"iocpipe/sharedfile"
)

// Kept is what is kept of a file that is followed.
type Kept struct {
	// ID stands for the file from its beginning to its end or its truncation, whatever its name. Numbers that systems
	// give to files are given again.
	ID string `json:"id"`

	Path   string `json:"path"` // when it was found first
	Number string `json:"number"`
	Head   int    `json:"head"` // how many of its first bytes Print is about
	Print  string `json:"print"`
	Offset int64  `json:"offset"` // up to here everything is handled
	Line   int64  `json:"line"`   // number of the line that begins there
}

func (k *Kept) isFile(info os.FileInfo) bool { return k.Number == fileNumber(info) }

// isHead reports whether a file that begins with head can be the one.
func (k *Kept) isHead(head []byte) bool {
	return len(head) >= k.Head && k.Print == printOf(head[:k.Head])
}

// isOf reports whether t is the file that k is about, or a copy of it.
func (k *Kept) isOf(t *tail) bool {
	return k.isHead(t.first) && (k.isFile(t.info) || k.Head >= certainHead)
}

func printOf(head []byte) string {
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:8])
}

// A Registry keeps how far files were handled, in a file that is written beside and renamed, or in memory alone. A file
// is in it before its first line is given, so that an ID is never forgotten. It is safe for concurrent use.
//
// Where the output is a file, a journal beside says of what was written since then where in the output it is: a step is
// noted before it is made, so that all of them but the last were made, and whether the last was is seen in the output.
type Registry struct {
	path    string // empty for memory alone
	lock    *os.File
	journal *os.File // nil without
	doubt   *Kept    // see Doubt

	mu    sync.Mutex
	kept  []*Kept
	dirty bool
	saved time.Time
}

// saveEvery is how often positions are written at most. What a kill makes forget is read again.
const saveEvery = time.Second

// ErrFollowed says that another process follows the same files.
var ErrFollowed = errors.New("another process follows these files with this state")

// OpenRegistry opens the registry at path, or begins one; with an empty path it is in memory alone. While it is open no
// other process can open it: [ErrFollowed]. output is the file that lines are written to, or empty.
func OpenRegistry(path, output string) (r *Registry, err error) {
	r = &Registry{path: path}
	if path == "" {
		return r, nil
	}
	if r.lock, err = lockFile(path + ".lock"); err != nil {
		return nil, err
	}
	sharedfile.Sweep(path)
	if err = r.read(); err == nil && output != "" {
		err = r.openJournal(output)
	}
	if err != nil {
		_ = r.lock.Close()
		return nil, err
	}
	return r, nil
}

func (r *Registry) read() error {
	data, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &r.kept); err != nil {
		return fmt.Errorf("%s: damaged: %w; without it all files are read anew", r.path, err)
	}
	return nil
}

// A step of the journal: with what is marked, everything in front of an offset of a file is written.
type step struct {
	ID     string `json:"id"`
	Offset int64  `json:"offset"`
	Line   int64  `json:"line"`
	Mark
}

// openJournal takes over the steps that were made, and begins the journal anew.
func (r *Registry) openJournal(output string) (err error) {
	if r.journal, err = os.OpenFile(r.path+".journal", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600); err != nil {
		return err
	}
	text, err := io.ReadAll(r.journal)
	if err == nil {
		r.takeOver(text, output)
		err = r.settle()
	}
	if err != nil {
		_ = r.journal.Close()
	}
	return err
}

func (r *Registry) takeOver(text []byte, output string) {
	var steps []step
	for line := range bytes.Lines(text) {
		var s step
		if json.Unmarshal(line, &s) != nil {
			break // it was being noted: nothing of it was written
		}
		steps = append(steps, s)
	}
	for i, s := range steps {
		there, sure := true, true
		if i == len(steps)-1 {
			there, sure = s.find(output)
		}
		if there {
			r.reach(s.ID, s.Offset, s.Line)
		} else if at := slices.IndexFunc(r.kept, func(k *Kept) bool { return k.ID == s.ID && k.Offset < s.Offset }); at >= 0 && !sure {
			r.doubt = r.kept[at]
		}
	}
}

// Doubt returns the file whose lines from Kept.Line on may be in the output, as a whole or in part, and are read again;
// ok is false when there are none.
func (r *Registry) Doubt() (k Kept, ok bool) {
	if r.doubt == nil {
		return Kept{}, false
	}
	return *r.doubt, true
}

// Reaching notes that with what is marked, and is not written yet, everything in front of an offset of a file is handled.
func (r *Registry) Reaching(id string, offset, line int64, m Mark) error {
	if r.journal == nil {
		return nil
	}
	text, err := json.Marshal(step{id, offset, line, m})
	if err == nil {
		_, err = r.journal.Write(append(text, '\n'))
	}
	return err
}

// lockFile opens the file at path, which is made when missing, for this process alone, until it is closed or the process
// ends in whatever way.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := sharedfile.TryLock(file)
	if err == nil && !ok {
		err = fmt.Errorf("%s: %w", path, ErrFollowed)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// find returns what is kept of a file, or begins to keep it. before is what was kept of another file under its number.
func (r *Registry) find(t *tail) (k *Kept, isNew bool, before *Kept, err error) {
	r.mu.Lock()
	at := slices.IndexFunc(r.kept, func(k *Kept) bool {
		return k.isFile(t.info) && k.isHead(t.first) && (t.packed || t.info.Size() >= k.Offset)
	})
	if at >= 0 {
		k = r.kept[at]
	}
	r.mu.Unlock()
	if k != nil {
		r.grow(k, t.first)
		return k, false, nil, nil
	}
	k, before, err = r.begin(t.path, t.info, t.first)
	return k, true, before, err
}

// begin keeps a file from its beginning on, and returns what was kept under its number, which goes on under none.
func (r *Registry) begin(path string, info os.FileInfo, head []byte) (k, before *Kept, err error) {
	k = &Kept{ID: rand.Text()[:16], Path: path, Number: fileNumber(info), Head: len(head), Print: printOf(head), Line: 1}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.kept {
		if other.Number == k.Number && k.Number != "" {
			other.Number, before = "", other
		}
	}
	r.kept = append(r.kept, k)
	r.dirty = true
	return k, before, r.save()
}

// grow lets more of a file's first bytes tell it from others.
func (r *Registry) grow(k *Kept, head []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(head) > k.Head {
		k.Head, k.Print, r.dirty = len(head), printOf(head), true
	}
}

func (r *Registry) knows(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.kept, func(k *Kept) bool { return k.Path == path })
}

// has reports whether anything is kept of a file.
func (r *Registry) has(t *tail) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.kept, func(k *Kept) bool { return k.isOf(t) })
}

// rest returns what is kept of files that are not among tails.
func (r *Registry) rest(tails []*tail) (rest []*Kept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kept {
		if !slices.ContainsFunc(tails, func(t *tail) bool { return t.Kept == k }) {
			rest = append(rest, k)
		}
	}
	return rest
}

// forget keeps a file no longer when it is handled up to offset, and reports whether it is.
func (r *Registry) forget(k *Kept, offset int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.Offset < offset {
		return false
	}
	r.kept = slices.DeleteFunc(r.kept, func(other *Kept) bool { return other == k })
	r.dirty = true
	return true
}

// Reached notes that everything in front of an offset of a file is handled, and writes that from time to time.
func (r *Registry) Reached(id string, offset, line int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reach(id, offset, line)
	if time.Since(r.saved) < saveEvery {
		return nil
	}
	return r.settle()
}

func (r *Registry) reach(id string, offset, line int64) {
	for _, k := range r.kept {
		if k.ID == id && offset > k.Offset {
			k.Offset, k.Line, r.dirty = offset, line, true
		}
	}
}

// settle writes what has changed, of which the journal has no more to say. No step may be under way.
func (r *Registry) settle() error {
	err := r.save()
	if r.journal == nil {
		return err
	}
	if size, _ := r.journal.Seek(0, io.SeekCurrent); err != nil && size < maxJournal { // it stands at the end
		return err
	}
	return errors.Join(err, r.journal.Truncate(0))
}

// maxJournal bounds the journal, in bytes, while positions cannot be written.
const maxJournal = 4 << 20

// Save writes what has changed.
func (r *Registry) Save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.save()
}

func (r *Registry) save() error {
	if r.path == "" || !r.dirty {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	if err := e.Encode(r.kept); err != nil {
		return err
	}
	if err := sharedfile.Replace(r.path, b.Bytes(), 0o600); err != nil {
		return err
	}
	r.dirty, r.saved = false, time.Now()
	return nil
}

// Close writes what has changed, and lets others open the registry.
func (r *Registry) Close() error {
	err := r.Save()
	if r.journal != nil {
		err = errors.Join(err, r.journal.Close())
	}
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
	}
	return err
}
