/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/store/rescue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/store/marker.h"
#include "backend/store/schema.h"

#define COPY_BYTES 65536
#define BUSY_MS 5000
#define MARKER "-commits" /* see marker.h */

static int join(char ret[static SONDE_STORE_PATH_MAX], const char *path, const char *suffix)
{
	return snprintf(ret, SONDE_STORE_PATH_MAX, "%s%s", path, suffix) >= SONDE_STORE_PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

static int open_folder(const char *path, int *ret_fd)
{
	const char *slash = strrchr(path, '/');
	char dir[SONDE_STORE_PATH_MAX];
	int fd;

	(void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1,
		       slash ? path : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int sync_folder(const char *path)
{
	_cleanup_close_ int dir = -1;
	int r = open_folder(path, &dir);

	if (r < 0)
		return r;
	return fsync(dir) < 0 ? -errno : 0;
}

/* For root, who does it for the server's user. */
static int give_to_owner(int fd, const char *path)
{
	_cleanup_close_ int dir = -1;
	struct stat st;
	int r;

	if (geteuid() != 0)
		return 0;
	r = open_folder(path, &dir);
	if (r < 0)
		return r;
	if (fstat(dir, &st) < 0)
		return -errno;
	return st.st_uid != 0 && fchown(fd, st.st_uid, st.st_gid) < 0 ? -errno : 0;
}

int sonde_store_make_file(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd =
		open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = give_to_owner(fd, path);
	if (r < 0) {
		(void)unlink(path);
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int sonde_store_sync(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return sync_folder(path);
}

static const char *const beside[] = {"-wal", "-shm", "-journal"};

void sonde_store_remove(const char *path)
{
	char other[SONDE_STORE_PATH_MAX];

	(void)unlink(path);
	for (size_t i = 0; i < ELEMENTS_OF(beside); i++) {
		if (join(other, path, beside[i]) == 0)
			(void)unlink(other);
	}
}

/* Not over what is there. */
static int move_file(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (link(from, to) < 0) /* a file system without that flag, as NFS */
		return -errno;
	return unlink(from) < 0 ? -errno : 0;
}

/* --- back-up --- */

static int vacuum_into(sqlite3 *db, const char *to, char *words)
{
	sqlite3_stmt *stmt = NULL;
	int rc, r;

	rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, to, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	r = sonde_store_db_errno(db, rc);
	if (r < 0)
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "%s", sqlite3_errmsg(db));
	(void)sqlite3_finalize(stmt);
	return r;
}

static int copy_database(const char *path, const char *to, char *words)
{
	sqlite3 *db = NULL;
	int r;

	r = sonde_store_errno(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL));
	if (r == 0) {
		(void)sqlite3_busy_timeout(db, BUSY_MS);
		(void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		r = vacuum_into(db, to, words);
	} else if (db) {
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "%s", sqlite3_errmsg(db));
	}
	(void)sqlite3_close(db);
	return r;
}

/* A database of ours, without a fault anywhere, that nothing lies beside. */
static int check_copy(const char *path, char *words)
{
	struct sonde_store_verdict v;

	sonde_store_check(path, 0, &v);
	if (v.error < 0)
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "%s", v.words);
	else if (v.fresh || v.version == 0)
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "it is no database of sonde-server");
	return v.error < 0 ? v.error : v.fresh || v.version == 0 ? -EUCLEAN : 0;
}

int sonde_store_backup(const char *path, const char *to, char *words)
{
	char part[SONDE_STORE_PATH_MAX];
	_cleanup_close_ int fd = -1;
	int r;

	words[0] = '\0';
	if (access(path, F_OK) < 0)
		return -errno;
	if (faccessat(AT_FDCWD, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	r = join(part, to, ".part");
	if (r < 0)
		return r;
	r = sonde_store_make_file(part, &fd);
	if (r < 0) {
		/* else the fault would be read as one of @path */
		(void)snprintf(words, SONDE_STORE_WORDS_MAX, "cannot make %.300s: %s", part,
			       strerror(-r));
		return r;
	}
	r = copy_database(path, part, words);
	if (r == 0)
		r = check_copy(part, words);
	if (r == 0)
		r = fsync(fd) < 0 ? -errno : move_file(part, to);
	if (r == 0)
		r = sync_folder(to);
	if (r < 0)
		sonde_store_remove(part);
	return r;
}

/* --- taking another's place --- */

static int name_aside(const char *path, char ret[static SONDE_STORE_PATH_MAX])
{
	time_t now = time(NULL);
	struct tm tm;

	if (!gmtime_r(&now, &tm) ||
	    snprintf(ret, SONDE_STORE_PATH_MAX, "%s.aside-%04d%02d%02dT%02d%02d%02dZ", path,
		     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		     tm.tm_sec) >= SONDE_STORE_PATH_MAX)
		return -ENAMETOOLONG;
	if (faccessat(AT_FDCWD, ret, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST; /* within the same second */
	return 0;
}

/* What is not there needs no moving. */
static int move_one(const char *path, const char *name, const char *suffix)
{
	char from[SONDE_STORE_PATH_MAX], to[SONDE_STORE_PATH_MAX];
	int r;

	if (join(from, path, suffix) < 0 || join(to, name, suffix) < 0)
		return -ENAMETOOLONG;
	r = move_file(from, to);
	return r < 0 && r != -ENOENT ? r : sync_folder(path);
}

/* The database itself last; its marker stays, and tells that something is missing. */
static int move_database(const char *path, const char *name, char ret[static SONDE_STORE_PATH_MAX])
{
	bool there = access(path, F_OK) == 0;
	int r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(beside) && r == 0; i++)
		r = move_one(path, name, beside[i]);
	if (r == 0)
		r = move_one(path, name, "");
	if (there && access(path, F_OK) < 0)
		(void)snprintf(ret, SONDE_STORE_PATH_MAX, "%s", name);
	return r;
}

int sonde_store_set_aside(const char *path, char ret[static SONDE_STORE_PATH_MAX])
{
	char name[SONDE_STORE_PATH_MAX];
	int r;

	ret[0] = '\0';
	r = name_aside(path, name);
	if (r == 0)
		r = move_database(path, name, ret);
	return r < 0 ? r : move_one(path, name, MARKER);
}

int sonde_store_replace(const char *path, const char *fresh,
			char aside[static SONDE_STORE_PATH_MAX])
{
	char words[SONDE_STORE_WORDS_MAX], name[SONDE_STORE_PATH_MAX];
	int r;

	aside[0] = '\0';
	r = sonde_store_sync(fresh);
	if (r == 0)
		r = name_aside(path, name);
	if (r == 0)
		r = move_database(path, name, aside);
	if (r == 0)
		r = move_file(fresh, path);
	if (r == 0)
		r = sync_folder(path);
	/* Not before: a place without both is one where nothing ever was. */
	if (r == 0)
		r = move_one(path, name, MARKER);
	return r < 0 ? r : sonde_store_accept(path, words);
}

static int copy_file(const char *from, int to_fd)
{
	_cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *buf = malloc(COPY_BYTES);
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (!buf)
		return -ENOMEM;
	while ((n = read(fd, buf, COPY_BYTES)) > 0) {
		for (ssize_t at = 0, done; at < n; at += done) {
			done = write(to_fd, buf + at, (size_t)(n - at));
			if (done < 0)
				return -errno;
		}
	}
	return n < 0 ? -errno : 0;
}

int sonde_store_restore(const char *path, const char *from, char aside[static SONDE_STORE_PATH_MAX],
			char *words)
{
	char fresh[SONDE_STORE_PATH_MAX], log[SONDE_STORE_PATH_MAX];
	_cleanup_close_ int fd = -1;
	int r;

	words[0] = aside[0] = '\0';
	if (join(fresh, path, ".restore") < 0 || join(log, from, "-wal") < 0)
		return -ENAMETOOLONG;
	if (access(log, F_OK) == 0) {
		(void)snprintf(words, SONDE_STORE_WORDS_MAX,
			       "a log (-wal) lies beside it: it was copied while it was in use, "
			       "and is not what --backup made");
		return -EINVAL;
	}
	sonde_store_remove(fresh); /* of an attempt that was ended */
	r = sonde_store_make_file(fresh, &fd);
	if (r < 0)
		return r;
	r = copy_file(from, fd);
	if (r == 0)
		r = check_copy(fresh, words);
	if (r == 0)
		r = sonde_store_replace(path, fresh, aside);
	sonde_store_remove(fresh); /* what lies beside it, or all of it: @from is still there */
	return r;
}

int sonde_store_accept(const char *path, char *words)
{
	struct sonde_store_verdict v;
	_cleanup_close_ int fd = -1;
	int r;

	sonde_store_check(path, 0, &v);
	(void)snprintf(words, SONDE_STORE_WORDS_MAX, "%s", v.words);
	if (v.error < 0 && v.error != -ENODATA)
		return v.error;
	words[0] = '\0';
	r = sonde_store_marker_set(path, v.commits);
	if (r == 0)
		r = sonde_store_marker_open(path, &fd);
	return r < 0 ? r : give_to_owner(fd, path);
}
