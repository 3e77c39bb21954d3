"""The command `instanter`, whose server starts no process that stands by.

`python -m bench.lone_server serve …` takes the command's own arguments. A standby takes a core for
seconds to get warm; where nobody is killed and nothing is measured it has nothing to do. A process
that ends is replaced all the same, by one that is started then.
"""

import sys

from instanter.cli.main import main
from instanter.supervisor import supervisor

if __name__ == "__main__":
    vars(supervisor)["STANDBY_DELAY_NS"] = sys.maxsize
    main()
