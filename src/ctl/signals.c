/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/signals.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

int sonde_signals_watch(struct sonde_signals *s)
{
	sigset_t set;
	int fd;

	assert(s);

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	*s = (struct sonde_signals){.fd = fd};
	return 0;
}

void sonde_signals_done(struct sonde_signals *s)
{
	closep(&s->fd);
	s->fd = -1;
}

bool sonde_signals_look(struct sonde_signals *s)
{
	struct signalfd_siginfo info;

	while (s->fd >= 0 && read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGINT)
			s->interrupts++;
		else
			s->terminated = true;
	}
	return s->interrupts > 0 || s->terminated;
}

void sonde_signals_wait(struct sonde_signals *s, int timeout_ms)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};

	(void)poll(&p, 1, timeout_ms); /* a negative fd is ignored: then it only sleeps */
	(void)sonde_signals_look(s);
}
