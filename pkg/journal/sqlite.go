package journal

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fanfold/fanfold/pkg/source"
)

// sqliteLog is the log in a run's folder: a database, a file of dead letters for each
// lane, and the number of the last commit that is durable.
//
// That number stands in a file of its own, because a database that has lost its
// write-ahead log, or that was put back from an older copy, is a whole database still: it
// only holds less. It is written when the commit has been synced, so that neither a kill
// nor a power cut can make it claim too much.
type sqliteLog struct {
	dir    string
	db     *sql.DB
	insert *sql.Stmt
	last   int64 // number of the last commit
	// dropped is the row number before which rows of the manifest may be missing.
	dropped int
	claim   *os.File
	dead    map[string]*letterFile
}

// letterFile is a file of dead letters of a lane that is open for writing.
type letterFile struct {
	f     *os.File
	day   string
	size  int64 // negative: not known
	dirty bool  // written but not synced
}

// The version of the database's tables. Version 1 had no versions in its rows, did not store the number of the
// last durable commit, and used one byte for a lane.
const tablesVersion = "2"

// droppedKey is the key for the row of the manifest before which some were deleted.
const droppedKey = "dropped"

const (
	databaseName = "journal.db"
	claimName    = "committed" // in front of journal.db, so that copying by name copies it first
)

// openSQLite opens the log in a folder. It creates a new one only if nothing shows that there was one before.
func openSQLite(dir string) (*sqliteLog, error) {
	path := filepath.Join(dir, databaseName)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if left := remains(dir); left != "" {
			return nil, &DamagedError{dir, fmt.Errorf("%s is missing beside %s", databaseName, left)}
		}
		if err = create(path); err != nil {
			return nil, fmt.Errorf("making it anew: %w", err)
		}
	case err != nil:
		return nil, err
	case info.Size() == 0: // it is never made so
		return nil, &DamagedError{dir, fmt.Errorf("%s is empty", databaseName)}
	}
	// SQLite does not say why a file cannot be opened, so open it directly for a better error.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err = f.Close(); err != nil {
		return nil, err
	}
	l := &sqliteLog{dir: dir, dead: map[string]*letterFile{}}
	if l.claim, err = os.OpenFile(filepath.Join(dir, claimName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	l.db, err = sql.Open("sqlite", address(path,
		"locking_mode(EXCLUSIVE)", "journal_mode(WAL)", "synchronous(NORMAL)", "wal_autocheckpoint(4000)"))
	if err != nil {
		return nil, errors.Join(err, l.claim.Close())
	}
	l.db.SetMaxOpenConns(1) // the lock on the folder is ours, so no other process uses the database
	return l, nil
}

// address is the URI of a database. It escapes the path, which may contain any character.
func address(path string, pragmas ...string) string {
	q := url.Values{"_pragma": pragmas}
	escape := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")
	return "file:" + escape.Replace(filepath.ToSlash(path)) + "?" + q.Encode()
}

// remains names something in the folder that only a run with a journal leaves there; "": there is nothing.
func remains(dir string) string {
	if letters, err := os.ReadDir(filepath.Join(dir, deadName)); err == nil && len(letters) > 0 {
		return "dead letters"
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == lockName, name == RedriveLock, name == "dead", strings.HasPrefix(name, databaseName+".new"):
			// These exist before the journal does.
		default:
			return name
		}
	}
	return ""
}

// create makes the database under another name and renames it once it is complete, so that a kill leaves no
// incomplete database.
func create(path string) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", address(tmp, "journal_mode(OFF)", "synchronous(OFF)"))
	if err != nil {
		return err
	}
	_, err = db.Exec(`CREATE TABLE log (seq INTEGER PRIMARY KEY, data BLOB NOT NULL);
		CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
		CREATE TABLE manifest (n INTEGER PRIMARY KEY, object TEXT NOT NULL)`)
	if err == nil {
		_, err = db.Exec(`INSERT INTO kv VALUES ('version', ?)`, tablesVersion)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := syncPath(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func (l *sqliteLog) Load(ctx context.Context) (*Commits, error) {
	c, err := l.load(ctx)
	var code *sqlite.Error
	switch {
	case err == nil:
	case errors.As(err, &code) && code.Code()&0xff == sqlite3.SQLITE_BUSY:
		err = &BusyError{Dir: l.dir} // somebody has removed the lock of the other process
	case !ofMachine(err):
		err = &DamagedError{l.dir, err}
	}
	return c, err
}

// ofMachine says whether an error does not come from the content of the database.
func ofMachine(err error) bool {
	var code *sqlite.Error
	if !errors.As(err, &code) || code.Code() == sqlite3.SQLITE_IOERR_SHORT_READ {
		return false
	}
	switch code.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY:
		return true
	}
	return false
}

func (l *sqliteLog) load(ctx context.Context) (*Commits, error) {
	var check string
	if err := l.db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&check); err != nil {
		return nil, err
	} else if check != "ok" {
		return nil, errors.New(check)
	}
	c := &Commits{Values: map[string][]byte{}}
	for row, err := range rowsOf(ctx, l.db, `SELECT key, value FROM kv`) {
		var key string
		var value []byte
		if err == nil {
			err = row.Scan(&key, &value)
		}
		if err != nil {
			return nil, err
		}
		c.Values[key] = value
	}
	if err := l.upgrade(ctx, string(c.Values["version"])); err != nil {
		return nil, err
	}
	delete(c.Values, "version")
	if text, ok := c.Values[droppedKey]; ok {
		var err error
		if l.dropped, err = strconv.Atoi(string(text)); err != nil {
			return nil, fmt.Errorf("how much of the manifest was dropped: %w", err)
		}
		delete(c.Values, droppedKey)
	}
	if err := l.db.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM log`).Scan(&l.last); err != nil {
		return nil, err
	}
	claimed, err := l.claimed()
	if err != nil {
		return nil, err
	}
	if l.last < claimed {
		return nil, fmt.Errorf("%s ends with commit %d, and %d was written: it is an older copy, or %s-wal is lost",
			databaseName, l.last, claimed, databaseName)
	}
	if c.Dead, err = l.deadSizes(); err != nil {
		return nil, err
	}
	c.Manifest, c.Log = l.manifest(ctx), l.rows(ctx)
	return c, nil
}

// upgrade marks the tables of an older version as this version's, because older versions of fanfold must not write
// to them any more.
func (l *sqliteLog) upgrade(ctx context.Context, version string) error {
	switch version {
	case tablesVersion:
		return nil
	case "1":
		_, err := l.db.ExecContext(ctx, `UPDATE kv SET value = ? WHERE key = 'version'`, tablesVersion)
		return err
	case "":
		return errors.New("it does not say which version of fanfold has written it")
	}
	return fmt.Errorf("it was written by another version of fanfold (journal version %q, this is %s)",
		version, tablesVersion)
}

// inDatabase queries the database in a folder without changing it.
func inDatabase(dir string, ask func(*sql.DB) error) error {
	db, err := sql.Open("sqlite", address(filepath.Join(dir, databaseName), "query_only(1)", "locking_mode(EXCLUSIVE)"))
	if err != nil {
		return err
	}
	if err = errors.Join(ask(db), db.Close()); err != nil && !ofMachine(err) {
		err = &DamagedError{dir, err}
	}
	return err
}

// readMeta reads the meta of the run; nil: there is none.
func readMeta(db *sql.DB) (meta json.RawMessage, err error) {
	var value []byte
	err = db.QueryRow(`SELECT value FROM kv WHERE key = ?`, metaKey).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return unversioned(value)
}

// readManifest reads the manifest of the run.
func readManifest(db *sql.DB) (objects []source.Object, err error) {
	l := sqliteLog{db: db}
	var text string
	switch err := db.QueryRow(`SELECT value FROM kv WHERE key = ?`, droppedKey).Scan(&text); {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return nil, err
	default:
		if l.dropped, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("how much of the manifest was dropped: %w", err)
		}
	}
	for row, err := range l.manifest(context.Background()) {
		var o source.Object
		if err == nil && row != nil {
			if row, err = unversioned(row); err == nil {
				err = json.Unmarshal(row, &o)
			}
		}
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// rowsOf runs a query and yields its rows, to be scanned.
func rowsOf(ctx context.Context, db *sql.DB, query string) iter.Seq2[*sql.Rows, error] {
	return func(yield func(*sql.Rows, error) bool) {
		rows, err := db.QueryContext(ctx, query)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			if !yield(rows, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, err)
		}
	}
}

func (l *sqliteLog) manifest(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		next := 0
		for rows, err := range rowsOf(ctx, l.db, `SELECT n, object FROM manifest ORDER BY n`) {
			var n int
			var text []byte
			if err == nil {
				err = rows.Scan(&n, &text)
			}
			for ; err == nil && next < min(n, l.dropped); next++ {
				if !yield(nil, nil) {
					return
				}
			}
			if err == nil && n != next {
				err = fmt.Errorf("row %d of the manifest is missing", next)
			}
			next++
			if !yield(text, err) || err != nil {
				return
			}
		}
		for ; next < l.dropped; next++ {
			if !yield(nil, nil) {
				return
			}
		}
	}
}

func (l *sqliteLog) rows(ctx context.Context) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		next := int64(0)
		for rows, err := range rowsOf(ctx, l.db, `SELECT seq, data FROM log ORDER BY seq`) {
			var r Row
			if err == nil {
				err = rows.Scan(&r.Seq, &r.Data)
			}
			if err == nil && next != 0 && r.Seq != next {
				err = fmt.Errorf("commit %d is missing", next)
			}
			next = r.Seq + 1
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (l *sqliteLog) Append(ctx context.Context, c Commit) error {
	if c.Sync {
		for _, d := range l.dead {
			if d.dirty {
				if err := d.f.Sync(); err != nil {
					return err
				}
				d.dirty = false
			}
		}
	}
	if err := l.store(ctx, c); err != nil {
		var code *sqlite.Error
		if errors.As(err, &code) && code.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY {
			return ErrFenced
		}
		return err
	}
	l.last = c.Seq
	if !c.Sync {
		return nil
	}
	if err := syncPath(filepath.Join(l.dir, databaseName+"-wal")); err != nil {
		return err
	}
	return l.claims(c.Seq)
}

const insertCommit = `INSERT INTO log VALUES (?, ?)`

func (l *sqliteLog) store(ctx context.Context, c Commit) (err error) {
	if c.Snapshot || len(c.Objects)+len(c.Values)+len(c.Drop) > 0 {
		return l.storeMore(ctx, c)
	}
	// The usual case: one statement, which is a transaction by itself.
	if l.insert == nil {
		if l.insert, err = l.db.PrepareContext(ctx, insertCommit); err != nil {
			return err
		}
	}
	_, err = l.insert.ExecContext(ctx, c.Seq, c.Data)
	return err
}

// storeMore stores a commit that has more than its data.
func (l *sqliteLog) storeMore(ctx context.Context, c Commit) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err = storeIn(ctx, tx, c); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func storeIn(ctx context.Context, tx *sql.Tx, c Commit) error {
	if _, err := tx.ExecContext(ctx, insertCommit, c.Seq, c.Data); err != nil {
		return err
	}
	for i, o := range c.Objects {
		if _, err := tx.ExecContext(ctx, `INSERT INTO manifest VALUES (?, ?)`, c.From+i, string(o)); err != nil {
			return err
		}
	}
	for _, n := range c.Drop {
		if _, err := tx.ExecContext(ctx, `DELETE FROM manifest WHERE n = ?`, n); err != nil {
			return err
		}
	}
	if len(c.Drop) > 0 {
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO kv VALUES (?, ?)`, droppedKey, strconv.Itoa(c.Before)); err != nil {
			return err
		}
	}
	for key, value := range c.Values {
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO kv VALUES (?, ?)`, key, value); err != nil {
			return err
		}
	}
	if c.Snapshot {
		if _, err := tx.ExecContext(ctx, `DELETE FROM log WHERE seq < ?`, c.Seq); err != nil {
			return err
		}
	}
	return nil
}

// A claim is "2 NUMBER CHECKSUM", always of the same length.
func claimText(seq int64) []byte {
	text := fmt.Sprintf("2 %020d", seq)
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

func (l *sqliteLog) claims(seq int64) error {
	_, err := l.claim.WriteAt(claimText(seq), 0)
	return err
}

// claimed is the number of the last commit that is known to be durable; 0: there is none.
func (l *sqliteLog) claimed() (int64, error) {
	data, err := os.ReadFile(l.claim.Name())
	if err != nil {
		return 0, err
	}
	if len(bytes.Trim(data, "\x00")) == 0 {
		return 0, nil // of an older version, or lost in a power cut when it was created
	}
	var seq int64
	if _, err := fmt.Sscanf(string(data), "2 %d ", &seq); err != nil || !bytes.Equal(data, claimText(seq)) {
		return 0, fmt.Errorf("%s does not match its checksum", l.claim.Name())
	}
	return seq, nil
}

func (l *sqliteLog) deadSizes() (map[LetterFile]int64, error) {
	days, err := letterDays(l.dir)
	if err != nil {
		return nil, err
	}
	sizes := map[LetterFile]int64{}
	for _, day := range append([]string{""}, days...) {
		entries, err := os.ReadDir(filepath.Join(l.dir, deadName, day))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), letterSuffix)
			if !ok {
				continue
			}
			info, err := e.Info()
			if err != nil {
				return nil, err
			}
			if lane, err := url.PathUnescape(name); err == nil {
				sizes[LetterFile{lane, day}] = info.Size()
			}
		}
	}
	return sizes, nil
}

// letters returns the open file of letters for a lane, and closes that of another day.
func (l *sqliteLog) letters(file LetterFile) (*letterFile, error) {
	d := l.dead[file.Lane]
	if d != nil && d.day == file.Day {
		return d, nil
	}
	if d != nil {
		delete(l.dead, file.Lane)
		if err := errors.Join(d.f.Sync(), d.f.Close()); err != nil {
			return nil, err
		}
	}
	path := file.Path(l.dir)
	if file.Day != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	d = &letterFile{f: f, day: file.Day, size: -1}
	l.dead[file.Lane] = d
	return d, nil
}

func (l *sqliteLog) AppendDead(_ context.Context, file LetterFile, at int64, frame []byte) error {
	d, err := l.letters(file)
	if err != nil {
		return fmt.Errorf("writing dead letters: %w", err)
	}
	d.dirty = true
	if d.size != at {
		if err = d.f.Truncate(at); err != nil {
			return fmt.Errorf("writing dead letters: %w", err)
		}
		d.size = at
	}
	n, err := d.f.WriteAt(frame, at)
	d.size += int64(n)
	if err != nil {
		return fmt.Errorf("writing dead letters: %w", err)
	}
	return nil
}

func (l *sqliteLog) Close() error {
	var err error
	for _, d := range l.dead {
		err = errors.Join(err, d.f.Close())
	}
	return errors.Join(err, l.db.Close(), l.claim.Close())
}

func syncPath(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// FileName turns a destination's name into a file name that no other destination has.
func FileName(destination string) string {
	var b strings.Builder
	for _, c := range []byte(destination) {
		if c == '/' || c == '\\' || c == ':' || c == '%' || c < ' ' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
