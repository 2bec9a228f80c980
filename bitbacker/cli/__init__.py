"""The command line: arguments in, text or JSON out.  Nothing else prints, reads argv or exits."""
