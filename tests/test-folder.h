/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Folders of a test's own. One that a test did not remove, since an assertion failed before, goes when the program exits,
 * or when SIGTERM (by which meson ends a test that takes too long), SIGINT or SIGHUP ends it. SIGKILL and a crash (abort(),
 * a sanitizer's word) leave it. Children of the one that made them leave them alone. One thread.
 */

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SONDE_TEST_FOLDERS_MAX 16
#define SONDE_TEST_FOLDER_PATH_MAX 128
#define SONDE_TEST_FOLDER_WALK (FTW_DEPTH | FTW_PHYS | FTW_MOUNT)

static struct {
	pid_t owner; /* 0 until the first is made */
	char paths[SONDE_TEST_FOLDERS_MAX][SONDE_TEST_FOLDER_PATH_MAX];
} sonde_test_folders;

static inline int sonde_test_folder_remove_one(const char *path, const struct stat *st, int kind,
					       struct FTW *walk)
{
	return remove(path);
}

static inline void sonde_test_folder_remove_rest(void)
{
	if (getpid() != sonde_test_folders.owner)
		return;
	for (size_t i = 0; i < SONDE_TEST_FOLDERS_MAX; i++)
		if (sonde_test_folders.paths[i][0])
			(void)nftw(sonde_test_folders.paths[i], sonde_test_folder_remove_one, 8,
				   SONDE_TEST_FOLDER_WALK);
}

/* Of a handler's few calls none walks a folder: rm does. */
static inline void sonde_test_folder_on_signal(int sig)
{
	for (size_t i = 0; getpid() == sonde_test_folders.owner && i < SONDE_TEST_FOLDERS_MAX;
	     i++) {
		pid_t pid = sonde_test_folders.paths[i][0] ? fork() : -1;

		if (pid == 0) {
			(void)execl("/bin/rm", "rm", "-rf", "--one-file-system",
				    sonde_test_folders.paths[i], (char *)NULL);
			_exit(1);
		}
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
	}
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

static inline int sonde_test_folder_handle(const sigset_t *ending)
{
	const struct sigaction ours = {.sa_handler = sonde_test_folder_on_signal,
				       .sa_mask = *ending};

	for (int sig = 1; sig < NSIG; sig++) {
		struct sigaction before;

		if (sigismember(ending, sig) != 1)
			continue;
		if (sigaction(sig, &ours, &before) < 0)
			return -errno;
		if (before.sa_handler == SIG_IGN && sigaction(sig, &before, NULL) < 0) /* nohup */
			return -errno;
	}
	return 0;
}

static inline int sonde_test_folder_make_blocked(char *path, const sigset_t *ending)
{
	size_t i = 0;
	int r;

	if (sonde_test_folders.owner == 0) {
		sonde_test_folders.owner = getpid();
		if (atexit(sonde_test_folder_remove_rest) != 0)
			return -ENOMEM;
		r = sonde_test_folder_handle(ending);
		if (r < 0)
			return r;
	}
	while (i < SONDE_TEST_FOLDERS_MAX && sonde_test_folders.paths[i][0])
		i++;
	if (i == SONDE_TEST_FOLDERS_MAX || strlen(path) >= SONDE_TEST_FOLDER_PATH_MAX)
		return -ENOSPC;
	if (!mkdtemp(path))
		return -errno;
	(void)snprintf(sonde_test_folders.paths[i], sizeof(sonde_test_folders.paths[i]), "%s",
		       path);
	return 0;
}

/* @path ends with XXXXXX, which are replaced. Return: 0 or -errno. */
static inline int sonde_test_folder_make(char *path)
{
	sigset_t ending, before;
	int r;

	(void)sigemptyset(&ending);
	(void)sigaddset(&ending, SIGTERM);
	(void)sigaddset(&ending, SIGINT);
	(void)sigaddset(&ending, SIGHUP);
	/* The handler removes what a slot names: it never sees half of a name, nor a folder without one. */
	if (sigprocmask(SIG_BLOCK, &ending, &before) < 0)
		return -errno;
	r = sonde_test_folder_make_blocked(path, &ending);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

/*
 * With all that is in it. Return: 0, -ENOENT (sonde_test_folder_make() did not make it: it is left alone), or -errno: the
 * program's end will try again.
 */
static inline int sonde_test_folder_remove(const char *path)
{
	size_t i = 0;

	while (i < SONDE_TEST_FOLDERS_MAX && strcmp(sonde_test_folders.paths[i], path) != 0)
		i++;
	if (!path[0] || i == SONDE_TEST_FOLDERS_MAX)
		return -ENOENT;
	if (nftw(path, sonde_test_folder_remove_one, 8, SONDE_TEST_FOLDER_WALK) < 0)
		return -errno;
	sonde_test_folders.paths[i][0] = '\0';
	return 0;
}
