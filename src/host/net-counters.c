/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net-counters.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

static const struct {
	const char *group, *name, *joined;
} counters[] = {
#define SONDE_NET_COUNTER(group, name) {#group, #name, #group #name},
#include "host/net-counters.def"
#undef SONDE_NET_COUNTER
};
_Static_assert(ELEMENTS_OF(counters) == _SONDE_NET_COUNTER_MAX, "a name for each counter");

const char *sonde_net_counter_name(enum sonde_net_counter c)
{
	assert((unsigned)c < _SONDE_NET_COUNTER_MAX);

	return counters[c].joined;
}

struct word {
	const char *at;
	size_t len;
};

static bool equals(struct word w, const char *s)
{
	return strlen(s) == w.len && memcmp(w.at, s, w.len) == 0;
}

/* The next word before @end; len 0 = none. */
static struct word next_word(const char **at, const char *end)
{
	struct word w;

	while (*at < end && (**at == ' ' || **at == '\t'))
		(*at)++;
	w.at = *at;
	while (*at < end && **at != ' ' && **at != '\t')
		(*at)++;
	w.len = (size_t)(*at - w.at);
	return w;
}

/* Return: 1 = a number, 0 = a negative one (a limit that is none), -EBADMSG. */
static int take_number(struct word w, uint64_t *ret)
{
	bool negative = w.len > 1 && w.at[0] == '-';
	uint64_t v = 0;

	if (w.len == 0)
		return -EBADMSG;
	for (size_t i = negative; i < w.len; i++) {
		if (w.at[i] < '0' || w.at[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(w.at[i] - '0'), &v))
			return -EBADMSG;
	}
	*ret = v;
	return !negative;
}

static void set(struct sonde_net_counters *c, size_t i, uint64_t value)
{
	c->known[i] = true;
	c->value[i] = value;
}

/* "Tcp: RtoMin InSegs" and "Tcp: 200 12". */
static int take_pair(struct word names, struct word values, struct sonde_net_counters *c)
{
	const char *n = names.at, *n_end = n + names.len, *v = values.at, *v_end = v + values.len;
	struct word group = next_word(&n, n_end), again = next_word(&v, v_end), name, value;
	uint64_t number = 0;
	int r;

	if (group.len < 2 || group.at[group.len - 1] != ':' || group.len != again.len ||
	    memcmp(group.at, again.at, group.len) != 0)
		return -EBADMSG;
	group.len--;
	for (;;) {
		name = next_word(&n, n_end);
		value = next_word(&v, v_end);
		if (name.len == 0 || value.len == 0)
			return name.len == value.len ? 0 : -EBADMSG;
		r = take_number(value, &number);
		if (r < 0)
			return r;
		for (size_t i = 0; r > 0 && i < ELEMENTS_OF(counters); i++) {
			if (equals(group, counters[i].group) && equals(name, counters[i].name))
				set(c, i, number);
		}
	}
}

/* A whole line without its end; false when there is none. */
static bool next_line(const char **at, const char *end, struct word *ret)
{
	const char *stop = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;

	if (!stop)
		return false;
	*ret = (struct word){*at, (size_t)(stop - *at)};
	*at = stop + 1;
	return true;
}

int sonde_net_counters_parse_pairs(const char *text, size_t n, struct sonde_net_counters *c)
{
	const char *at = text, *end = text + n;
	struct word names, values;
	int r = 0;

	assert(text && c);

	while (r == 0 && next_line(&at, end, &names))
		r = next_line(&at, end, &values) ? take_pair(names, values, c) : -EBADMSG;
	return r == 0 && at != end ? -EBADMSG : r;
}

int sonde_net_counters_parse_list(const char *text, size_t n, struct sonde_net_counters *c)
{
	const char *at = text, *end = text + n;
	struct word line;
	uint64_t number = 0;

	assert(text && c);

	while (next_line(&at, end, &line)) {
		const char *w = line.at, *w_end = w + line.len;
		struct word name = next_word(&w, w_end), value = next_word(&w, w_end);
		int r = take_number(value, &number);

		if (name.len == 0 || r < 0 || next_word(&w, w_end).len)
			return -EBADMSG;
		for (size_t i = 0; r > 0 && i < ELEMENTS_OF(counters); i++) {
			if (equals(name, counters[i].joined))
				set(c, i, number);
		}
	}
	return at != end ? -EBADMSG : 0;
}

/* @text: of SONDE_NET_COUNTERS_FILE_MAX. Return: 0, -ENOENT, -EMSGSIZE, -errno. */
static int read_file(int proc_fd, uint32_t pid, const char *name, char *text, size_t *ret_n)
{
	_cleanup_close_ int fd = -1;
	size_t n = 0;
	char path[48];
	int r;

	(void)snprintf(path, sizeof(path), "%u/net/%s", pid, name);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	r = sonde_file_fill(fd, text, SONDE_NET_COUNTERS_FILE_MAX, &n);
	if (r < 0)
		return r;
	if (n == SONDE_NET_COUNTERS_FILE_MAX)
		return -EMSGSIZE;
	*ret_n = n;
	return 0;
}

int sonde_net_counters_namespace(int proc_fd, uint32_t pid, uint64_t *ret)
{
	struct stat st;
	char path[48];

	assert(ret);

	(void)snprintf(path, sizeof(path), "%u/net/snmp", pid);
	if (fstatat(proc_fd, path, &st, 0) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret = st.st_ino;
	return 0;
}

int sonde_net_counters_read(int proc_fd, uint32_t pid, struct sonde_net_counters *ret)
{
	_cleanup_free_ char *text = malloc(SONDE_NET_COUNTERS_FILE_MAX);
	struct sonde_net_counters c = {0};
	size_t n = 0;
	int r;

	assert(ret);

	if (!text)
		return -ENOMEM;
	r = read_file(proc_fd, pid, "snmp", text, &n);
	if (r == 0)
		r = sonde_net_counters_parse_pairs(text, n, &c);
	if (r == 0)
		r = read_file(proc_fd, pid, "netstat", text, &n);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	r = sonde_net_counters_parse_pairs(text, n, &c);
	if (r == 0)
		r = read_file(proc_fd, pid, "snmp6", text, &n);
	if (r == 0)
		r = sonde_net_counters_parse_list(text, n, &c);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = c;
	return 0;
}
