package elastic

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// A Letter is a document that was not taken, and why.
type Letter struct {
	Time     time.Time
	Action   []byte // the line of the bulk API, without its line feed
	Document []byte // byte for byte, without its line feed
	Error    Error
	Attempts int
}

// DeadLetters is a file of letters: one JSON object a line, flushed to the disk before anybody relies on it. It is
// safe for concurrent use.
//
// The last member of a line holds the document byte for byte: "document" when it is JSON without
// blanks around it, else "document_base64".
// "replay_id" is the _id that a document without one gets when it is sent again, so that this can be done twice.
type DeadLetters struct {
	path  string
	mu    sync.Mutex
	file  *os.File // opened with the first letter
	whole int64    // its length up to the last whole line
}

// NewDeadLetters returns the dead letters of a file, which is made with the first of them, or appended to.
func NewDeadLetters(path string) *DeadLetters { return &DeadLetters{path: path} }

// Path is that of the file.
func (d *DeadLetters) Path() string { return d.path }

// Check opens the file for a moment, to tell before the first letter whether it can be written.
func (d *DeadLetters) Check() error {
	_, statErr := os.Stat(d.path)
	file, err := os.OpenFile(d.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if errors.Is(statErr, os.ErrNotExist) {
		_ = os.Remove(d.path) // no letters, no file
	}
	return file.Close()
}

// Add writes letters. When it returns without an error they are on the disk; after an error none of them is.
func (d *DeadLetters) Add(letters []Letter) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		if err := d.open(); err != nil {
			return err
		}
	}
	var lines []byte
	for i := range letters {
		lines = letters[i].append(lines)
	}
	_, err := d.file.Write(lines)
	if err == nil {
		err = d.file.Sync()
	}
	if err != nil {
		_ = d.file.Truncate(d.whole) // a line that is cut off would be no letter
		return err
	}
	d.whole += int64(len(lines))
	return nil
}

// open opens the file and ends its last line, which a full disk or a killed process may have left unfinished.
func (d *DeadLetters) open() error {
	file, err := os.OpenFile(d.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	size := info.Size()
	last := []byte{'\n'}
	if size > 0 && info.Mode().IsRegular() {
		if _, err = file.ReadAt(last, size-1); err == nil && last[0] != '\n' {
			_, err = file.Write([]byte{'\n'})
			size++
		}
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	d.file, d.whole = file, size
	return nil
}

// Close closes the file.
func (d *DeadLetters) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	file := d.file
	d.file = nil
	return file.Close()
}

// letterHead is what stands in front of the document, and what is read back.
type letterHead struct {
	Time     time.Time       `json:"@timestamp"`
	Index    string          `json:"index"`
	ID       string          `json:"id,omitempty"`
	ReplayID string          `json:"replay_id,omitempty"`
	Status   int             `json:"status"`
	Error    letterError     `json:"error"`
	Attempts int             `json:"attempts"`
	Action   json.RawMessage `json:"action"`
}

type letterError struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

// A target is what an action line says of its document.
type target struct {
	Index string `json:"_index"`
	ID    string `json:"_id"`
}

// parseAction reads an action line.
func parseAction(action []byte) (name string, to target, err error) {
	var actions map[string]target
	if err := json.Unmarshal(action, &actions); err != nil {
		return "", to, err
	}
	for name, to = range actions {
	}
	if len(actions) != 1 || name != "create" && name != "index" {
		return "", to, errors.New("an action is one of create and index")
	}
	return name, to, nil
}

func (l *Letter) append(dst []byte) []byte {
	_, to, _ := parseAction(l.Action) // what was sent is an action
	head := letterHead{Time: l.Time.UTC().Truncate(time.Millisecond), Index: to.Index, ID: to.ID, Status: l.Error.Status,
		Error: letterError{l.Error.Type, l.Error.Reason}, Attempts: l.Attempts, Action: l.Action}
	if to.ID == "" {
		head.ReplayID = rand.Text()
	}
	text, err := json.Marshal(head)
	if err != nil { // strings, numbers and an action that was parsed always marshal
		panic(err)
	}
	dst = append(dst, text[:len(text)-1]...)
	if json.Valid(l.Document) && utf8.Valid(l.Document) && len(bytes.TrimSpace(l.Document)) == len(l.Document) {
		dst = append(append(dst, documentMember...), l.Document...)
	} else {
		dst = append(dst, `,"document_base64":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, l.Document), '"')
	}
	return append(dst, "}\n"...)
}

var documentMember = []byte(`,"document":`)

// ReadLetters calls each for every letter of a file, as the two lines of a bulk item. each keeps nothing. A line that is no
// letter is an error that names it, which goes to broken with the line, and the reading goes on.
func ReadLetters(r io.Reader, each func(pair []byte) error, broken func(number int, line []byte, err error) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			pair, parseErr := parseLetter(line)
			if parseErr != nil {
				parseErr = broken(number, line, parseErr)
			} else {
				parseErr = each(pair)
			}
			if parseErr != nil {
				return parseErr
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// parseLetter returns the two lines of the bulk item that a line of the file holds.
func parseLetter(line []byte) (pair []byte, err error) {
	var letter struct {
		letterHead
		Document json.RawMessage `json:"document"` // the very bytes
		Base64   []byte          `json:"document_base64"`
	}
	if err := json.Unmarshal(line, &letter); err != nil {
		return nil, fmt.Errorf("no dead letter: %w", err)
	}
	name, to, err := parseAction(letter.Action)
	if err != nil {
		return nil, fmt.Errorf("no dead letter: action: %w", err)
	}
	document := []byte(letter.Document)
	if document == nil {
		document = letter.Base64
	}
	if len(document) == 0 || bytes.IndexByte(document, '\n') >= 0 {
		return nil, errors.New("no dead letter: no document in one line")
	}
	action := []byte(letter.Action)
	if to.ID == "" && letter.ReplayID != "" {
		action = withID(action, name, letter.ReplayID)
	}
	return joinPair(action, document), nil
}

// withID returns the action with an _id.
func withID(action []byte, name, id string) []byte {
	var actions map[string]map[string]json.RawMessage
	if json.Unmarshal(action, &actions) != nil {
		return action // it was parsed before, so this does not happen
	}
	text, _ := json.Marshal(id) // a string always marshals
	actions[name]["_id"] = text
	action, _ = json.Marshal(actions)
	return action
}

func joinPair(action, document []byte) []byte {
	pair := make([]byte, 0, len(action)+len(document)+2)
	pair = append(append(pair, action...), '\n')
	return append(append(pair, document...), '\n')
}
