/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "host/listeners.h"
#include "test-folder.h"

#define HEAD                                                                                       \
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#define REST " 00000000:00000000 00:00000000 00000000     0        0 "

/* A folder that looks like /proc. */
struct fixture {
	char path[64];
	int fd;
};

static void put(const struct fixture *f, const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void add_process(const struct fixture *f, unsigned int pid, const char *netns,
			const char *tcp, const char *tcp6)
{
	static const char *const folders[] = {"", "/ns", "/net", "/fd"};
	char name[64];

	for (size_t i = 0; i < ELEMENTS_OF(folders); i++) {
		(void)snprintf(name, sizeof(name), "%u%s", pid, folders[i]);
		assert_ok(mkdirat(f->fd, name, 0700));
	}
	(void)snprintf(name, sizeof(name), "%u/ns/net", pid);
	assert_ok(symlinkat(netns, f->fd, name));
	(void)snprintf(name, sizeof(name), "%u/net/tcp", pid);
	put(f, name, tcp);
	(void)snprintf(name, sizeof(name), "%u/net/tcp6", pid);
	if (tcp6)
		put(f, name, tcp6);
}

static void add_fd(const struct fixture *f, unsigned int pid, unsigned int fd, const char *link)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%u/fd/%u", pid, fd);
	assert_ok(symlinkat(link, f->fd, name));
}

static void make(struct fixture *f)
{
	(void)snprintf(f->path, sizeof(f->path), "/tmp/sonde-test-listeners-XXXXXX");
	assert_ok(sonde_test_folder_make(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	put(f, "version", "no process\n");
}

static void unmake(struct fixture *f)
{
	(void)close(f->fd);
	assert_ok(sonde_test_folder_remove(f->path));
}

/* A master and a worker on one socket, another namespace, a connection that is none of ours. */
static void fill(const struct fixture *f)
{
	static const char web[] = HEAD "   0: 00000000:0050 00000000:0000 0A" REST "1001 1 0 100\n"
				       "   1: 0100007F:1F90 00000000:0000 0A" REST "1002 1 0 100\n"
				       "   2: 0100007F:0050 0100007F:9999 01" REST "1003 1 0 100\n"
				       "   3: 00000000:0051 00000000:0000 0A" REST "1009 1 0 100\n";
	static const char web6[] = HEAD
		"   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A" REST
		"1004 1 0 100\n";
	static const char pod[] = HEAD "   0: 0A00000A:0050 00000000:0000 0A" REST "2001 1 0 100\n";

	add_process(f, 10, "net:[100]", web, web6);
	add_process(f, 11, "net:[100]", web, web6);
	add_process(f, 20, "net:[200]", pod, NULL);
	add_fd(f, 10, 3, "socket:[1001]");
	add_fd(f, 10, 4, "socket:[1001]"); /* a duplicate: listed once */
	add_fd(f, 10, 5, "socket:[1004]");
	add_fd(f, 10, 6, "pipe:[1002]");
	add_fd(f, 11, 3, "socket:[1001]");
	add_fd(f, 11, 9, "socket:[1003]");
	add_fd(f, 20, 0, "/dev/null");
	add_fd(f, 20, 7, "socket:[2001]");
}

static const struct sonde_listener *find(const struct sonde_listener *l, size_t n, uint32_t pid,
					 uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (l[i].pid == pid && l[i].port == port)
			return &l[i];
	return NULL;
}

static void lists_every_holder_in_every_namespace(void **state)
{
	static const uint8_t pod_addr[16] = {[10] = 0xff, 0xff, 10, 0, 0, 10};
	static const uint8_t any[16];
	_cleanup_free_ struct sonde_listener *l = NULL;
	struct sonde_listeners_cut cut;
	struct fixture f;
	size_t n = 0;

	make(&f);
	fill(&f);
	assert_ok(sonde_listeners_scan(f.fd, NULL, &l, &n, &cut));
	assert_int_equal(n, 4);
	assert_non_null(find(l, n, 10, 80));
	assert_non_null(find(l, n, 11, 80));
	assert_non_null(find(l, n, 10, 443));
	assert_int_equal(find(l, n, 10, 443)->family, AF_INET6);
	assert_int_equal(find(l, n, 10, 80)->netns_inode, 100);
	assert_memory_equal(find(l, n, 10, 80)->addr, any, sizeof(any));
	assert_non_null(find(l, n, 20, 80));
	assert_int_equal(find(l, n, 20, 80)->netns_inode, 200);
	assert_memory_equal(find(l, n, 20, 80)->addr, pod_addr, sizeof(pod_addr));
	assert_int_equal(cut.processes + cut.fds + cut.namespaces + cut.sockets + cut.listeners, 0);
	unmake(&f);
}

static void counts_what_is_beyond_each_limit(void **state)
{
	struct sonde_listeners_limits limits = sonde_listeners_limits_default;
	_cleanup_free_ struct sonde_listener *l = NULL;
	struct sonde_listeners_cut cut;
	struct fixture f;
	size_t n = 0;

	make(&f);
	fill(&f);
	limits.listeners = 1;
	assert_ok(sonde_listeners_scan(f.fd, &limits, &l, &n, &cut));
	assert_int_equal(n, 1);
	assert_int_equal(cut.listeners,
			 3 + (l[0].pid != 10)); /* a duplicate that is not listed counts */
	free(TAKE_PTR(l));

	limits = sonde_listeners_limits_default;
	limits.fds_a_process = 1;
	assert_ok(sonde_listeners_scan(f.fd, &limits, &l, &n, &cut));
	assert_int_equal(cut.fds, 3 + 1 + 1);
	free(TAKE_PTR(l));

	limits = sonde_listeners_limits_default;
	limits.namespaces = 1;
	limits.sockets = 1;
	limits.processes = 3;
	assert_ok(sonde_listeners_scan(f.fd, &limits, &l, &n, &cut));
	assert_int_equal(cut.namespaces, 1);
	assert_int_equal(cut.processes, 0);
	free(TAKE_PTR(l));

	limits.processes = 2;
	assert_ok(sonde_listeners_scan(f.fd, &limits, &l, &n, &cut));
	assert_int_equal(cut.processes, 1);
	unmake(&f);
}

static void an_empty_proc_is_no_error(void **state)
{
	_cleanup_free_ struct sonde_listener *l = NULL;
	struct sonde_listeners_cut cut;
	struct fixture f;
	size_t n = 9;

	make(&f);
	assert_ok(sonde_listeners_scan(f.fd, NULL, &l, &n, &cut));
	assert_int_equal(n, 0);
	unmake(&f);
}

static void refuses_lines_that_are_not_whole(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"   0:",
		"   0: 00000000",
		"   0: 00000000:0050",
		"   0: 0000000G:0050 00000000:0000 0A" REST "1\n",
		"   0: 00000000:050 00000000:0000 0A" REST "1\n",
		"   0: 00000000:0050 00000000:0000 A" REST "1\n",
		"   0: 00000000:0050 00000000:0000 0A 0:0 0:0 0",
		"   0: 00000000:0050 00000000:0000 0A" REST "x\n",
		"   0: 00000000:0050 00000000:0000 0A" REST "99999999999999999999999999\n",
	};
	struct sonde_listeners_line line = {.port = 7};

	for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
		assert_err(sonde_listeners_parse_line(bad[i], AF_INET, &line), EBADMSG);
	assert_int_equal(line.port, 7);
	assert_err(sonde_listeners_parse_line("   0: 00000000:0050 00000000:0000 0A" REST "1\n",
					      AF_INET6, &line),
		   EBADMSG);
	assert_ok(sonde_listeners_parse_line("   0: 00000000:0050 00000000:0000 0A" REST "1\n",
					     AF_INET, &line));
	assert_int_equal(line.port, 80);
	assert_int_equal(line.state, 10);
	assert_int_equal(line.inode, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_every_holder_in_every_namespace),
		cmocka_unit_test(counts_what_is_beyond_each_limit),
		cmocka_unit_test(an_empty_proc_is_no_error),
		cmocka_unit_test(refuses_lines_that_are_not_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
