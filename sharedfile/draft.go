// Package sharedfile is for files that several processes use at the same time: one of them at a time works on a file
// ([Lock]), and a new version takes the place of the old one in one step ([Draft]), so that a reader finds the one or
// the other, whole, whatever happens.
//
// A lock is advisory, belongs to the open file, and is gone when that is closed or its process ends. Where the system has
// no such locks ([CanLock]) everybody gets one at once.
package sharedfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Draft is the next version of a file while it is written, beside it and hidden from who reads the folder.
type Draft struct {
	*os.File
	path string // the file that it becomes
	done bool
}

// Create begins the next version of the file at path. If there is none yet, it will have the mode perm, less the umask;
// else mode and, where that is allowed, owner stay. Of a symbolic link the target is replaced. Discard must follow. One
// process has one draft of a file at a time.
func Create(path string, perm fs.FileMode) (*Draft, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	name := fmt.Sprintf("%s%d%s", draftPrefix(path), os.Getpid(), draftSuffix)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one with our number who was killed
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		failed.Path = path // the name that a person gave
	}
	if err != nil {
		return nil, err
	}
	return &Draft{File: f, path: path}, nil
}

func draftPrefix(path string) string {
	dir, name := filepath.Split(path)
	return filepath.Join(dir, "."+name+".")
}

const draftSuffix = ".new"

// Finish closes the draft when it is whole on the disk.
func (d *Draft) Finish() error {
	if info, err := os.Stat(d.path); err == nil {
		keepOwner(d.File, info)
		if err := d.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return d.Close()
}

// Publish puts the finished draft in the place of the file.
func (d *Draft) Publish() error {
	if err := os.Rename(d.Name(), d.path); err != nil {
		return err
	}
	d.done = true
	if folder, err := os.Open(filepath.Dir(d.path)); err == nil {
		_ = folder.Sync() // the name is there; some file systems do not sync folders
		_ = folder.Close()
	}
	return nil
}

// Discard removes the draft unless it was published.
func (d *Draft) Discard() {
	if !d.done {
		_ = d.Close()
		_ = os.Remove(d.Name())
	}
}

// Replace puts a file with these contents in the place of the one at path, as [Create], [Draft.Finish] and [Draft.Publish] do.
func Replace(path string, data []byte, perm fs.FileMode) error {
	draft, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer draft.Discard()
	if _, err := draft.Write(data); err != nil {
		return err
	}
	if err := draft.Finish(); err != nil {
		return err
	}
	return draft.Publish()
}

// Sweep removes the drafts of the file at path, which is no symbolic link, that killed processes have left. It is for who
// holds a lock that all take who write the file.
func Sweep(path string) {
	files, _ := os.ReadDir(filepath.Dir(path)) // what cannot be read is not swept
	prefix := filepath.Base(draftPrefix(path))
	for _, f := range files {
		if strings.HasPrefix(f.Name(), prefix) && strings.HasSuffix(f.Name(), draftSuffix) {
			_ = os.Remove(filepath.Join(filepath.Dir(path), f.Name()))
		}
	}
}
