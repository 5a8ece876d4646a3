package export

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"iocpipe/intel"
)

// File writes entries to the file path, or to several in the folder path when the format has several (splunk-intel: a
// file per collection; misp: a feed); such a folder is made when path ends with a slash. All are written beside and renamed when all are whole, so that a reader never
// sees half a file, and an export that fails or is interrupted leaves the old one. A file keeps its mode and, where
// that is allowed, its owner. What is no regular file, such as a pipe, is written to as it is.
func File(path string, format Format, entries iter.Seq2[intel.Entry, error], opt Options) (Result, error) {
	k, ok := kinds[format]
	if !ok {
		return Result{}, fmt.Errorf("unknown format %q", string(format))
	}
	if k.files != nil && os.IsPathSeparator(path[max(0, len(path)-1)]) {
		if err := os.MkdirAll(path, 0o777); err != nil { // less the umask
			return Result{}, err
		}
	}
	files := []file{{path, nil}}
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		if k.files == nil {
			return Result{}, fmt.Errorf("%s is a folder: %s is one file, name it", path, format)
		}
		files = k.files(opt)
		for i := range files {
			files[i].name = filepath.Join(path, files[i].name)
		}
	case err == nil && !info.Mode().IsRegular():
		return toDevice(path, format, entries, opt)
	default:
		files[0].encoder = k.encoder(opt)
	}
	return replace(files, k, entries, opt)
}

func toDevice(path string, format Format, entries iter.Seq2[intel.Entry, error], opt Options) (Result, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return Result{}, err
	}
	result, err := Write(f, format, entries, opt)
	return result, errors.Join(err, f.Close())
}

// replace writes all files beside their names, and renames them when all are whole.
func replace(files []file, k kind, entries iter.Seq2[intel.Entry, error], opt Options) (result Result, err error) {
	drafts := make([]*draft, 0, len(files))
	defer func() {
		for _, d := range drafts {
			d.discard()
		}
	}()
	targets := make([]*target, 0, len(files))
	for _, f := range files {
		d, err := newDraft(f.name)
		if err != nil {
			return Result{}, err
		}
		drafts = append(drafts, d)
		targets = append(targets, &target{encoder: f.encoder, w: d})
	}
	if result, err = run(k, opt, entries, targets); err != nil {
		return result, err
	}
	for _, d := range drafts {
		if err := d.finish(); err != nil {
			return result, err
		}
	}
	for _, d := range drafts {
		if err := d.publish(); err != nil {
			return result, err
		}
	}
	return result, nil
}

// A draft is a file while it is written, beside the name it will have.
type draft struct {
	*os.File
	path string // the file that it becomes
	done bool
}

func newDraft(path string) (*draft, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays, and leads to the new file
	}
	dir, name := filepath.Split(path)
	temporary := filepath.Join(dir, fmt.Sprintf(".%s.%d.new", name, os.Getpid())) // hidden from who reads the folder
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // less the umask: others read exports
	if err != nil {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			failed.Path = path // the name that a person gave
		}
		return nil, err
	}
	return &draft{File: f, path: path}, nil
}

// finish makes the draft whole on disk, with the mode and owner of the file that it replaces.
func (d *draft) finish() error {
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

func (d *draft) publish() error {
	if err := os.Rename(d.Name(), d.path); err != nil {
		return err
	}
	d.done = true
	dir, err := os.Open(filepath.Dir(d.path))
	if err != nil {
		return nil // the file is there; that its name is safe on disk is asked where it can be
	}
	defer dir.Close()
	_ = dir.Sync() // some file systems do not sync folders
	return nil
}

func (d *draft) discard() {
	if !d.done {
		d.Close()
		os.Remove(d.Name())
	}
}
