/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/bpf-ids.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "host/privilege.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LEN 36
#define LINE_LEN_MAX (BOOT_ID_LEN + 2 + 12 + SONDE_BPF_IDS_TAG_MAX + 2)
#define TIDY_LEN ((off_t)2 * SONDE_BPF_IDS_MAX * LINE_LEN_MAX)
#define FILE_LEN_MAX ((size_t)2 * TIDY_LEN)
#define POLL_NS 20000000L

struct ids {
	struct sonde_bpf_id *id; /* owned */
	bool *gone;		 /* owned; for each, once they were asked */
	size_t n;
	struct sonde_bpf_proved proved; /* of earlier proofs */
};

static void ids_done(struct ids *ids)
{
	free(ids->id);
	free(ids->gone);
}

int sonde_bpf_ids_open(int dir_fd)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(dir_fd, SONDE_BPF_IDS_FILE,
		    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return TAKE_FD(fd);
}

/* -1: not locked. A worker that died with it leaves it to the next one, which has the same open file. */
static void unlockp(const int *fd)
{
	if (*fd >= 0)
		(void)flock(*fd, LOCK_UN);
}

static int lock(int fd, int *ret_locked)
{
	if (flock(fd, LOCK_EX) < 0)
		return -errno;
	*ret_locked = fd;
	return 0;
}

static int read_boot_id(char boot[BOOT_ID_LEN + 1])
{
	_cleanup_close_ int fd = -1;
	ssize_t n;

	fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, boot, BOOT_ID_LEN);
	if (n < 0)
		return -errno;
	if (n != BOOT_ID_LEN)
		return -EBADMSG;
	boot[n] = '\0';
	return 0;
}

static bool tag_ok(const char *tag)
{
	size_t n = strnlen(tag, SONDE_BPF_IDS_TAG_MAX);

	if (n == 0 || n == SONDE_BPF_IDS_TAG_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (tag[i] <= ' ' || tag[i] > '~')
			return false;
	return true;
}

int sonde_bpf_ids_parse_line(const char *line, const char *boot, struct sonde_bpf_id *ret)
{
	struct sonde_bpf_id id = {0};
	size_t boot_len, n;
	char digits[12];
	uint64_t v;

	assert(line && boot && ret);

	boot_len = strlen(boot);
	n = strcspn(line, " ");
	if (line[n] != ' ')
		return -EBADMSG;
	if (n != boot_len || memcmp(line, boot, n) != 0)
		return -ESTALE;
	line += n + 1;
	if ((*line != 'p' && *line != 'm' && *line != 'l') || line[1] != ' ')
		return -EBADMSG;
	id.kind = *line;
	line += 2;
	n = strcspn(line, " ");
	if (line[n] != ' ' || n >= sizeof(digits))
		return -EBADMSG;
	memcpy(digits, line, n);
	digits[n] = '\0';
	if (sonde_parse_u64(digits, 1, UINT32_MAX, &v) < 0)
		return -EBADMSG;
	id.id = (uint32_t)v;
	line += n + 1;
	n = strcspn(line, "\n");
	if (n >= sizeof(id.tag))
		return -EBADMSG;
	memcpy(id.tag, line, n);
	if (!tag_ok(id.tag))
		return -EBADMSG;
	*ret = id;
	return 0;
}

/* "BOOT g COUNT WALL_MS": what was proved gone, and when last. */
static bool parse_proved(const char *line, const char *boot, struct sonde_bpf_proved *ret)
{
	const size_t n = strlen(boot);
	struct sonde_bpf_proved proved;
	char words[64], *space;
	size_t len;

	if (strncmp(line, boot, n) != 0 || strncmp(line + n, " g ", 3) != 0)
		return false;
	line += n + 3;
	len = strcspn(line, "\n");
	if (len >= sizeof(words))
		return false;
	memcpy(words, line, len);
	words[len] = '\0';
	space = strchr(words, ' ');
	if (!space)
		return false;
	*space = '\0';
	if (sonde_parse_u64(words, 1, UINT32_MAX, &proved.ids) < 0 ||
	    sonde_parse_i64(space + 1, 0, INT64_MAX, &proved.wall_ms) < 0)
		return false;
	*ret = proved;
	return true;
}

static int put_proved(struct sonde_buf *b, const char *boot, const struct sonde_bpf_proved *proved)
{
	if (proved->ids == 0)
		return 0;
	return sonde_buf_printf(b, "%s g %" PRIu64 " %" PRIi64 "\n", boot, proved->ids,
				proved->wall_ms);
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int put_line(struct sonde_buf *b, const char *boot, const struct sonde_bpf_id *id)
{
	return sonde_buf_printf(b, "%s %c %u %s\n", boot, id->kind, id->id, id->tag);
}

static int read_text(int fd, struct sonde_buf *b)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		ssize_t n;
		int r;

		r = sonde_buf_reserve(b, 4096);
		if (r < 0)
			return r;
		n = read(fd, b->data + b->len, 4096);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		b->len += (size_t)n;
		b->data[b->len] = '\0';
	}
}

/* This boot's, the newest SONDE_BPF_IDS_MAX of them. */
static int read_ids(int fd, const char *boot, struct ids *ret)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(FILE_LEN_MAX);
	_cleanup_(ids_done) struct ids ids = {0};
	const char *line, *next;
	int r;

	r = read_text(fd, &b);
	if (r < 0 && r != -EMSGSIZE)
		return r;
	ids.id = calloc(SONDE_BPF_IDS_MAX, sizeof(*ids.id));
	if (!ids.id)
		return -ENOMEM;
	for (line = sonde_buf_str(&b); *line; line = next) {
		struct sonde_bpf_id id;

		next = strchrnul(line, '\n');
		next += *next == '\n';
		if (parse_proved(line, boot, &ids.proved) ||
		    sonde_bpf_ids_parse_line(line, boot, &id) < 0)
			continue;
		if (ids.n == SONDE_BPF_IDS_MAX)
			memmove(ids.id, ids.id + 1, --ids.n * sizeof(*ids.id));
		ids.id[ids.n++] = id;
	}
	*ret = ids;
	ids.id = NULL;
	return 0;
}

static int write_ids(int fd, const char *boot, const struct ids *ids)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(FILE_LEN_MAX);
	int r = put_proved(&b, boot, &ids->proved);

	for (size_t i = 0; r == 0 && i < ids->n; i++)
		r = put_line(&b, boot, &ids->id[i]);
	if (r < 0)
		return r;
	if (ftruncate(fd, 0) <
	    0) /* O_APPEND: what is written goes to the end, which is the start now */
		return -errno;
	return write_all(fd, b.data, b.len);
}

/* Of one that holds the lock. */
static int tidy(int fd, const char *boot, size_t *ret_n, struct sonde_bpf_proved *ret_proved)
{
	_cleanup_(ids_done) struct ids ids = {0};
	int r;

	r = read_ids(fd, boot, &ids);
	if (r < 0)
		return r;
	r = write_ids(fd, boot, &ids);
	if (r < 0)
		return r;
	*ret_n = ids.n;
	*ret_proved = ids.proved;
	return 0;
}

int sonde_bpf_ids_tidy(int fd, size_t *ret_n, struct sonde_bpf_proved *ret_proved)
{
	_cleanup_(unlockp) int locked = -1;
	char boot[BOOT_ID_LEN + 1];
	int r;

	assert(ret_n && ret_proved);

	r = read_boot_id(boot);
	if (r < 0)
		return r;
	r = lock(fd, &locked);
	if (r < 0)
		return r;
	return tidy(fd, boot, ret_n, ret_proved);
}

int sonde_bpf_ids_note(int fd, const struct sonde_bpf_id *id)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(LINE_LEN_MAX);
	_cleanup_(unlockp) int locked = -1;
	char boot[BOOT_ID_LEN + 1];
	struct sonde_bpf_proved proved;
	struct sonde_bpf_id copy;
	struct stat st;
	size_t n;
	int r;

	assert(id);

	copy = *id;
	if (!tag_ok(copy.tag))
		(void)snprintf(copy.tag, sizeof(copy.tag), "-");
	r = read_boot_id(boot);
	if (r < 0)
		return r;
	r = put_line(&b, boot, &copy);
	if (r < 0)
		return r;
	r = lock(fd, &locked);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size >= TIDY_LEN) {
		r = tidy(fd, boot, &n, &proved);
		if (r < 0)
			return r;
	}
	return write_all(fd, b.data, b.len);
}

/* Is the object behind @fd the one that was noted, or one that got its number later? */
static bool same_program(int fd, const char *tag)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	char hex[2 * sizeof(info.tag) + 1];

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return true; /* cannot be told: counted as ours */
	for (size_t i = 0; i < sizeof(info.tag); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", info.tag[i]);
	return strcmp(tag, "-") == 0 || strcmp(tag, hex) == 0;
}

static bool same_map(int fd, const char *name)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return true;
	return strcmp(name, "-") == 0 || strncmp(name, info.name, sizeof(info.name) - 1) == 0;
}

static int id_to_fd(const struct sonde_bpf_id *id)
{
	switch (id->kind) {
	case 'p':
		return bpf_prog_get_fd_by_id(id->id);
	case 'm':
		return bpf_map_get_fd_by_id(id->id);
	default:
		return bpf_link_get_fd_by_id(id->id);
	}
}

/* Return: 1 = alive and ours, 0 = gone, -errno (-EPERM: may not ask). Link ids are given in a circle of 2^31: no tag needed. */
static int ask(const struct sonde_bpf_id *id)
{
	_cleanup_close_ int fd = -1;

	fd = id_to_fd(id);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (id->kind == 'p')
		return same_program(fd, id->tag);
	if (id->kind == 'm')
		return same_map(fd, id->tag);
	return 1;
}

/* Asks those of which it is not known yet. *@ret_alive: how many are left. Return: 0, -errno. */
static int ask_all(struct ids *ids, size_t *ret_alive)
{
	size_t alive = 0;

	for (size_t i = 0; i < ids->n; i++) {
		int r = ids->gone[i] ? 0 : ask(&ids->id[i]);

		if (r < 0)
			return r;
		ids->gone[i] = r == 0;
		alive += r > 0;
	}
	*ret_alive = alive;
	return 0;
}

static int ask_until_gone(struct ids *ids, uint64_t wait_ns, struct sonde_probe_idle *ret)
{
	uint64_t start = sonde_mono_ns(), waited;
	size_t alive = 0;
	int r;

	ids->gone = calloc(ids->n + 1, sizeof(*ids->gone));
	if (!ids->gone)
		return -ENOMEM;
	for (;;) {
		(void)sonde_privilege_raise(SONDE_CAP(CAP_SYS_ADMIN) | SONDE_CAP(CAP_BPF));
		r = ask_all(ids, &alive);
		sonde_privilege_lower();
		if (r < 0)
			return r;
		waited = sonde_mono_ns() - start;
		if (alive == 0 || waited >= wait_ns)
			break;
		(void)nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
	ret->ids_asked = (uint32_t)ids->n;
	ret->ids_alive = (uint32_t)alive;
	ret->wait_ns = waited;
	return 0;
}

static bool is_gone(const struct ids *proved, const struct sonde_bpf_id *id)
{
	for (size_t i = 0; i < proved->n; i++)
		if (proved->gone[i] && proved->id[i].id == id->id &&
		    proved->id[i].kind == id->kind && strcmp(proved->id[i].tag, id->tag) == 0)
			return true;
	return false;
}

/* Others may have noted more meanwhile: the file is read again. */
static int remove_gone(int fd, const char *boot, const struct ids *proved)
{
	_cleanup_(ids_done) struct ids now = {0};
	_cleanup_(unlockp) int locked = -1;
	size_t kept = 0;
	int r;

	r = lock(fd, &locked);
	if (r < 0)
		return r;
	r = read_ids(fd, boot, &now);
	if (r < 0)
		return r;
	for (size_t i = 0; i < now.n; i++)
		if (!is_gone(proved, &now.id[i]))
			now.id[kept++] = now.id[i];
	if (kept < now.n) {
		now.proved.ids += now.n - kept;
		if (now.proved.ids > UINT32_MAX)
			now.proved.ids = UINT32_MAX;
		now.proved.wall_ms = sonde_wall_ms();
	}
	now.n = kept;
	return write_ids(fd, boot, &now);
}

/* Not locked while we wait later: a worker may be attaching. */
static int read_locked(int fd, const char *boot, struct ids *ret)
{
	_cleanup_(unlockp) int locked = -1;
	int r;

	r = lock(fd, &locked);
	if (r < 0)
		return r;
	return read_ids(fd, boot, ret);
}

int sonde_bpf_ids_prove(int fd, uint64_t wait_ns, struct sonde_probe_idle *ret)
{
	_cleanup_(ids_done) struct ids ids = {0};
	char boot[BOOT_ID_LEN + 1];
	uint64_t permitted;
	int r;

	assert(ret);

	r = sonde_bpf_fds_count(&ret->bpf_fds_left);
	if (r < 0)
		return r;
	ret->ids_asked = ret->ids_alive = 0;
	ret->wait_ns = 0;
	r = sonde_privilege_permitted(&permitted);
	if (r < 0)
		return r;
	if (fd < 0 || (permitted & SONDE_CAP(CAP_SYS_ADMIN)) == 0)
		return 0;

	r = read_boot_id(boot);
	if (r < 0)
		return r;
	r = read_locked(fd, boot, &ids);
	if (r < 0)
		return r;
	r = ask_until_gone(&ids, wait_ns, ret);
	if (r < 0)
		return r;
	return remove_gone(fd, boot, &ids);
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* The kernel's word on a descriptor: "prog_id:", "map_id:", "link_id:", "btf_id:" at the start of a line. */
static bool is_bpf(int dir_fd, const char *name)
{
	static const char *const words[] = {"\nprog_id:", "\nmap_id:", "\nlink_id:", "\nbtf_id:"};
	_cleanup_close_ int fd = -1;
	char text[2048];
	ssize_t n;

	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	for (size_t i = 0; i < ELEMENTS_OF(words); i++)
		if (strstr(text, words[i]))
			return true;
	return false;
}

int sonde_bpf_fds_count(uint32_t *ret)
{
	_cleanup_(closedirp) DIR *d = NULL;
	const struct dirent *e;
	uint32_t n = 0;
	int r;

	assert(ret);

	/* A process that is not dumpable owns its /proc files as root: readable by others' rights only. */
	(void)sonde_privilege_raise(SONDE_CAP(CAP_SYS_PTRACE) | SONDE_CAP(CAP_DAC_READ_SEARCH));
	d = opendir("/proc/self/fdinfo");
	r = errno;
	while (d && (e = readdir(d))) /* NOLINT(concurrency-mt-unsafe) */
		n += e->d_name[0] != '.' && is_bpf(dirfd(d), e->d_name);
	sonde_privilege_lower();
	if (!d)
		return -r;
	*ret = n;
	return 0;
}
