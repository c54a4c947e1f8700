/* SPDX-License-Identifier: Apache-2.0 */
#include "host/listeners.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/num.h"
#include "host/netns.h"
#include "host/pidfile.h"
#include "host/privilege.h"

const struct sonde_listeners_limits sonde_listeners_limits_default = {
	.processes = 16384,
	.fds_a_process = 65536,
	.fds = 1048576,
	.namespaces = 1024,
	.sockets = 16384,
	.listeners = 16384,
};

struct namespace
{
	uint64_t cookie;
	uint32_t inode;
};

/* A listening socket of a namespace's table, before it is known who holds it. */
struct listening {
	uint64_t inode;
	uint32_t namespace; /* index */
	uint16_t port;
	uint16_t family;
	uint8_t addr[16];
};

struct scan {
	int proc_fd;
	struct sonde_listeners_limits limits;
	struct sonde_listeners_cut cut;
	uint32_t *pids;
	struct namespace *namespaces;
	struct listening *sockets;
	struct sonde_listener *listeners;
	size_t n_pids, n_namespaces, n_sockets, n_listeners;
	size_t cap_namespaces, cap_sockets, cap_listeners;
	size_t fds;
};

static void scan_done(struct scan *s)
{
	free(s->pids);
	free(s->namespaces);
	free(s->sockets);
	free(s->listeners);
}

/* Room for one more; the caller has checked the limit. */
static int grow(void **array, size_t *cap, size_t n, size_t size)
{
	size_t want = *cap ? *cap * 2 : 64;
	void *p;

	if (n < *cap)
		return 0;
	p = reallocarray(*array, want, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*cap = want;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Exactly @digits of them. Return: where they end, NULL if there are others. */
static const char *parse_hex(const char *s, unsigned int digits, uint32_t *ret)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < digits; i++) {
		int d = hex_digit(s[i]);

		if (d < 0)
			return NULL;
		v = v << 4 | (uint32_t)d;
	}
	*ret = v;
	return s + digits;
}

/* Blanks, then a word that is skipped. Return: where it ends, NULL if there is none. */
static const char *skip_word(const char *s)
{
	s += strspn(s, " ");
	if (*s == '\0')
		return NULL;
	return s + strcspn(s, " ");
}

/* The kernel prints each 32-bit word of the address as a number of this machine. */
static const char *parse_addr(const char *s, uint16_t family, uint8_t addr[16])
{
	uint32_t w[4] = {0};

	for (unsigned int i = family == AF_INET6 ? 0 : 3; i < 4; i++) {
		s = parse_hex(s, 8, &w[i]);
		if (!s)
			return NULL;
	}
	if (family == AF_INET && w[3] != 0)
		w[2] = htonl(0xffff); /* ::ffff:a.b.c.d; any stays all zero */
	memcpy(addr, w, sizeof(w));
	return s;
}

/* "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 …" */
int sonde_listeners_parse_line(const char *line, uint16_t family, struct sonde_listeners_line *ret)
{
	struct sonde_listeners_line out = {0};
	uint32_t port, state;
	char digits[24];
	const char *s;
	size_t n;

	assert(line && ret);

	s = skip_word(line); /* "0:" */
	if (!s || *s != ' ')
		return -EBADMSG;
	s = parse_addr(s + 1, family, out.addr);
	if (!s || *s != ':')
		return -EBADMSG;
	s = parse_hex(s + 1, 4, &port);
	if (!s || *s != ' ')
		return -EBADMSG;
	s = skip_word(s); /* the remote end */
	if (!s || *s != ' ')
		return -EBADMSG;
	s = parse_hex(s + 1, 2, &state);
	if (!s || *s != ' ')
		return -EBADMSG;
	for (int skipped = 0; s && skipped < 5;
	     skipped++) /* queues, timer, retransmits, uid, timeout */
		s = skip_word(s);
	if (!s)
		return -EBADMSG;
	s += strspn(s, " ");
	n = strcspn(s, " \n");
	if (n >= sizeof(digits))
		return -EBADMSG;
	memcpy(digits, s, n);
	digits[n] = '\0';
	if (sonde_parse_u64(digits, 0, UINT64_MAX, &out.inode) < 0)
		return -EBADMSG;
	out.port = (uint16_t)port;
	out.state = (uint8_t)state;
	*ret = out;
	return 0;
}

static int add_socket(struct scan *s, uint32_t namespace, uint16_t family,
		      const struct sonde_listeners_line *line)
{
	int r;

	if (s->n_sockets == s->limits.sockets) {
		s->cut.sockets++;
		return 0;
	}
	r = grow((void **)&s->sockets, &s->cap_sockets, s->n_sockets, sizeof(*s->sockets));
	if (r < 0)
		return r;
	s->sockets[s->n_sockets] = (struct listening){
		.inode = line->inode,
		.namespace = namespace,
		.port = line->port,
		.family = family,
	};
	memcpy(s->sockets[s->n_sockets].addr, line->addr, sizeof(line->addr));
	s->n_sockets++;
	return 0;
}

static void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

/* A namespace's table. The kernel prints its listeners first: the first other line ends the work. */
static int read_table(struct scan *s, uint32_t pid, uint32_t namespace, uint16_t family)
{
	_cleanup_(fclosep) FILE *f = NULL;
	_cleanup_close_ int fd = -1;
	char text[512];

	fd = sonde_pidfile_open(s->proc_fd, pid, family == AF_INET ? "net/tcp" : "net/tcp6", 0);
	if (fd < 0)
		return 0; /* it is gone, or has no IPv6 */
	f = fdopen(fd, "r");
	if (!f)
		return -errno;
	TAKE_FD(fd);
	if (!fgets(text, sizeof(text), f)) /* the head line */
		return 0;
	while (fgets(text, sizeof(text), f)) {
		struct sonde_listeners_line line;
		int r;

		if (sonde_listeners_parse_line(text, family, &line) < 0)
			break;
		if (line.state != TCP_LISTEN)
			break;
		r = add_socket(s, namespace, family, &line);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The tables of @pid's namespace, if no process before it was in the same. */
static int add_namespace_of(struct scan *s, uint32_t pid)
{
	uint32_t inode;
	int r;

	if (sonde_netns_inode(s->proc_fd, pid, "net", &inode) < 0)
		return 0; /* gone; one that may not be read is counted with its descriptors */
	for (size_t i = 0; i < s->n_namespaces; i++)
		if (s->namespaces[i].inode == inode)
			return 0;
	if (s->n_namespaces == s->limits.namespaces) {
		s->cut.namespaces++;
		return 0;
	}
	r = grow((void **)&s->namespaces, &s->cap_namespaces, s->n_namespaces,
		 sizeof(*s->namespaces));
	if (r < 0)
		return r;
	s->namespaces[s->n_namespaces] = (struct namespace){.inode = inode};
	r = read_table(s, pid, (uint32_t)s->n_namespaces, AF_INET);
	if (r == 0)
		r = read_table(s, pid, (uint32_t)s->n_namespaces, AF_INET6);
	s->n_namespaces++;
	return r;
}

static int by_inode(const void *a, const void *b)
{
	const struct listening *x = a, *y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

static int add_listener(struct scan *s, uint32_t pid, int fd, const struct listening *l)
{
	struct namespace *ns = &s->namespaces[l->namespace];
	struct sonde_listener *out;
	int r;

	if (s->n_listeners == s->limits.listeners) {
		s->cut.listeners++;
		return 0;
	}
	r = grow((void **)&s->listeners, &s->cap_listeners, s->n_listeners, sizeof(*s->listeners));
	if (r < 0)
		return r;
	if (ns->cookie == 0 && sonde_netns_cookie_of(pid, fd, &ns->cookie) < 0)
		ns->cookie = 0; /* the next holder of a socket of it is asked again */
	out = &s->listeners[s->n_listeners++];
	*out = (struct sonde_listener){
		.netns = ns->cookie,
		.netns_inode = ns->inode,
		.pid = pid,
		.port = l->port,
		.family = l->family,
	};
	memcpy(out->addr, l->addr, sizeof(out->addr));
	return 0;
}

/* One process holding a socket by several descriptors lists it once. */
static bool listed(const struct scan *s, size_t from, const struct listening *l)
{
	for (size_t i = from; i < s->n_listeners; i++) {
		const struct sonde_listener *have = &s->listeners[i];

		if (have->port == l->port && have->family == l->family &&
		    have->netns_inode == s->namespaces[l->namespace].inode &&
		    memcmp(have->addr, l->addr, sizeof(l->addr)) == 0)
			return true;
	}
	return false;
}

static int look_at_fd(struct scan *s, uint32_t pid, size_t from, int fd, const char *link)
{
	struct listening key = {0};
	const struct listening *l;
	uint32_t inode;

	if (sonde_netns_parse(link, "socket", &inode) < 0)
		return 0;
	key.inode = inode;
	l = bsearch(&key, s->sockets, s->n_sockets, sizeof(*s->sockets), by_inode);
	if (!l || listed(s, from, l))
		return 0;
	return add_listener(s, pid, fd, l);
}

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static int open_fds(struct scan *s, uint32_t pid, DIR **ret)
{
	_cleanup_close_ int fd = -1;
	DIR *d;

	fd = sonde_pidfile_open(s->proc_fd, pid, "fd", O_DIRECTORY);
	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d)
		return -errno;
	TAKE_FD(fd);
	*ret = d;
	return 0;
}

struct link {
	int fd;
	char text[64];
};

/* One raise for so many: with 10,000 descriptors, raising for each costs more than reading them. */
#define LINKS_A_RAISE 64

/* Return: how many links were read, 0 = none left. */
static size_t next_links(DIR *d, struct link links[LINKS_A_RAISE])
{
	const struct dirent *e;
	size_t n = 0;

	sonde_pidfile_raise();
	assert(d);
	while (n < LINKS_A_RAISE && (e = readdir(d))) {
		struct link *l = &links[n];
		uint64_t fd;
		ssize_t len;

		if (sonde_parse_u64(e->d_name, 0, INT32_MAX, &fd) < 0)
			continue;
		len = readlinkat(dirfd(d), e->d_name, l->text, sizeof(l->text) - 1);
		if (len < 0)
			continue;
		l->text[len] = '\0';
		l->fd = (int)fd;
		n++;
	}
	sonde_privilege_lower();
	return n;
}

static int look_at_links(struct scan *s, uint32_t pid, size_t from, const struct link *links,
			 size_t n, size_t *seen)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (++*seen > s->limits.fds_a_process || ++s->fds > s->limits.fds)
			s->cut.fds++;
		else
			r = look_at_fd(s, pid, from, links[i].fd, links[i].text);
	}
	return r;
}

static int add_listeners_of(struct scan *s, uint32_t pid)
{
	_cleanup_(closedirp) DIR *d = NULL;
	size_t from = s->n_listeners, seen = 0, n;
	struct link links[LINKS_A_RAISE];
	int r;

	r = open_fds(s, pid, &d);
	if (r < 0) {
		s->cut.unreadable += r == -EACCES || r == -EPERM;
		return 0;
	}
	while (r == 0 && (n = next_links(d, links)) > 0)
		r = look_at_links(s, pid, from, links, n, &seen);
	return r;
}

static int scan_all(struct scan *s)
{
	int r;

	r = sonde_pidfile_list(s->proc_fd, s->limits.processes, &s->pids, &s->n_pids);
	if (r == -ENOSPC) {
		s->cut.processes = 1; /* or more: who lists does not count what it leaves */
		r = 0;
	}
	for (size_t i = 0; r == 0 && i < s->n_pids; i++)
		r = add_namespace_of(s, s->pids[i]);
	if (r == 0 && s->n_sockets > 0)
		qsort(s->sockets, s->n_sockets, sizeof(*s->sockets), by_inode);
	for (size_t i = 0; r == 0 && i < s->n_pids && s->n_sockets > 0; i++)
		r = add_listeners_of(s, s->pids[i]);
	return r;
}

int sonde_listeners_scan(int proc_fd, const struct sonde_listeners_limits *limits,
			 struct sonde_listener **ret, size_t *ret_n,
			 struct sonde_listeners_cut *ret_cut)
{
	_cleanup_(scan_done) struct scan s = {.proc_fd = proc_fd};
	int r;

	assert(ret && ret_n && ret_cut);

	s.limits = limits ? *limits : sonde_listeners_limits_default;
	r = scan_all(&s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s.listeners);
	*ret_n = s.n_listeners;
	*ret_cut = s.cut;
	return 0;
}
