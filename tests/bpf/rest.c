/* SPDX-License-Identifier: Apache-2.0 */
#include "rest.h"

#include <errno.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

static void read_infos(const int fds[2], struct tcp_info *ret)
{
	for (size_t i = 0; i < 2; i++) {
		socklen_t len = sizeof(ret[i]);

		memset(&ret[i], 0, sizeof(ret[i]));
		if (fds[i] < 0)
			continue;
		assert_ok(getsockopt(fds[i], IPPROTO_TCP, TCP_INFO, &ret[i], &len));
		/* How long ago: never at rest. */
		ret[i].tcpi_last_data_sent = ret[i].tcpi_last_ack_sent = 0;
		ret[i].tcpi_last_data_recv = ret[i].tcpi_last_ack_recv = 0;
	}
}

void rest_snapshot(struct fixture *f, const int fds[2], struct tcp_info *ret)
{
	struct tcp_info before[2];

	for (unsigned int i = 0; i < 6000; i++) {
		read_infos(fds, before);
		fixture_snapshot(f);
		read_infos(fds, ret);
		if (memcmp((const char *)before, (const char *)ret, sizeof(before)) ==
		    0) /* all of it was cleared */
			return;
		fixture_wait_ms(10);
	}
	fail_msg("not at rest within a minute");
}

static size_t send_until_eagain(int fd)
{
	static const char bytes[65536];
	size_t sent = 0;
	ssize_t n;

	while ((n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	assert_int_equal(errno, EAGAIN);
	return sent;
}

size_t rest_fill(int fd, uint64_t *ret_ns)
{
	size_t sent = 0, more;
	uint64_t last_ns = 0;

	for (unsigned int i = 0; i < 60000; i++) {
		struct tcp_info info[2];

		more = send_until_eagain(fd);
		if (more > 0)
			last_ns = sonde_mono_ns();
		sent += more;
		read_infos((const int[]){fd, -1}, info);
		if (more == 0 && info[0].tcpi_snd_wnd == 0 && info[0].tcpi_unacked == 0) {
			if (ret_ns)
				*ret_ns = last_ns;
			return sent;
		}
		fixture_wait_ms(1);
	}
	fail_msg("the window never closed");
	return 0;
}
