/* SPDX-License-Identifier: Apache-2.0 */
#include "words.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sonde-test.h"

#include "base/cleanup.h"
#include "bpf/tunnel.h"

/* Of digits that the kernel printed. */
static uint64_t number_at(const char *digits)
{
	uint64_t n = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		n = n * 10 + (uint64_t)(*digits - '0');
	return n;
}

static int read_files(void *arg)
{
	static const char *const paths[] = {"/proc/thread-self/net/snmp",
					    "/proc/thread-self/net/netstat"};
	struct words *words = arg;
	size_t at = 0;

	for (size_t i = 0; i < ELEMENTS_OF(paths); i++) {
		_cleanup_close_ int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		ssize_t n;

		if (fd < 0)
			return -1;
		while ((n = read(fd, words->text + at, sizeof(words->text) - 1 - at)) > 0)
			at += (size_t)n;
		if (n < 0 || at == sizeof(words->text) - 1)
			return -1;
	}
	words->text[at] = 0;
	return 0;
}

void words_read(int netns_fd, struct words *ret)
{
	assert_ok(netns_fd < 0 ? read_files(ret) : sonde_test_in_netns(netns_fd, read_files, ret));
}

/* Of "Tcp: A B\nTcp: 1 2\n" and the name "TcpB": the column's text in the second line, or NULL. */
static const char *find(const char *text, const char *name)
{
	while (*text) {
		const char *end = strchr(text, '\n');
		const size_t group = strcspn(text, ":");
		const char *title, *value;

		if (!end)
			return NULL;
		if (strncmp(text, name, group) != 0) {
			text = strchr(end + 1, '\n');
			if (!text++)
				return NULL;
			continue;
		}
		title = text + group + 1;
		value = end + 1 + group + 1;
		while (*title == ' ') {
			const size_t length = strcspn(++title, " \n");

			value += strspn(value, " ");
			if (strlen(name + group) == length &&
			    strncmp(title, name + group, length) == 0)
				return value;
			title += length;
			value += strcspn(value, " \n");
		}
		text = strchr(end + 1, '\n');
		if (!text++)
			return NULL;
	}
	return NULL;
}

bool words_has(const struct words *words, const char *name)
{
	return find(words->text, name);
}

uint64_t words_get(const struct words *words, const char *name)
{
	const char *value = find(words->text, name);

	if (!value)
		fail_msg("this kernel has no counter %s", name);
	return number_at(value);
}

uint64_t words_grown(const struct words *from, const struct words *to, const char *name)
{
	return words_get(to, name) - words_get(from, name);
}

struct tcp_info words_tcp_info(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info;
}
