/* SPDX-License-Identifier: Apache-2.0 */
/* sonde: the command line. Wiring only. */
#include <limits.h>
#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/secret.h"
#include "config/config.h"
#include "ctl/cli.h"
#include "ctl/settings.h"

static void find_program_dir(char *dir, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", dir, size - 1);
	char *slash;

	dir[n < 0 ? 0 : n] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
}

static unsigned int terminal_columns(void)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

int main(int argc, char **argv)
{
	static char program_dir[PATH_MAX];
	struct sonde_cli cli = {
		.out = stdout,
		.err = stderr,
		.out_tty = isatty(STDOUT_FILENO) == 1,
		.err_tty = isatty(STDERR_FILENO) == 1,
		.program_dir = program_dir,
	};
	int status;

	sonde_secret_guard();
	/* for the generated config/README.md, like the other programs */
	if (argc == 2 && strcmp(argv[1], "--dump-reference") == 0)
		return sonde_config_reference(&sonde_cli_spec, stdout) < 0 ? SONDE_CLI_INTERNAL : 0;

	/* widths of wide characters; numbers and words stay as in the C locale */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (cli.out_tty)
		cli.width = terminal_columns();
	find_program_dir(program_dir, sizeof(program_dir));
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return SONDE_CLI_INTERNAL;
	status = sonde_cli_main(&cli, argc, argv);
	curl_global_cleanup();
	return status;
}
