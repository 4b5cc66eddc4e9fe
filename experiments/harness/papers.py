"""Where the papers that claims name can be read."""

import re
from collections.abc import Iterator

# As sources of claims name them.
PAPERS = {
    "Barron 1993": "doi:10.1109/18.256500",
    "Gers et al. 2000": "doi:10.1162/089976600300015015",
    "Guo et al. 2017": "arXiv:1706.04599",
    "He et al. 2015": "arXiv:1502.01852",
    "Hochreiter & Schmidhuber 1997": "doi:10.1162/neco.1997.9.8.1735",
    "Hu, Shen & Sun 2018": "arXiv:1709.01507",
    "Ioffe & Szegedy 2015": "arXiv:1502.03167",
    "Lin et al. 2017": "arXiv:1708.02002",
    "Niculescu-Mizil & Caruana 2005": "doi:10.1145/1102351.1102430",
    "Pascanu et al. 2013": "arXiv:1211.5063",
    "Pennington et al. 2017": "arXiv:1711.04735",
    "Phillips & Robinson 2007": "doi:10.1177/0748730406297512",
    "Phillips & Robinson 2008": "doi:10.1016/j.jtbi.2008.08.022",
    "Poole et al. 2016": "arXiv:1606.05340",
    "Saxe et al. 2014": "arXiv:1312.6120",
    "Schoenholz et al. 2017": "arXiv:1611.01232",
    "Tallec & Ollivier 2018": "arXiv:1804.11188",
    "Zhai et al. 2023": "arXiv:2303.15343",
}

_SITES = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}
_IDENTIFIER = r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,9}/[^\s;,)]+"
_MENTION = re.compile("|".join([*map(re.escape, PAPERS), _IDENTIFIER]))


def linked(source: str) -> Iterator[tuple[str, str | None]]:
    """The pieces of a source, each with the address of the paper that it names, or None."""
    end = 0
    for mention in _MENTION.finditer(source):
        if mention.start() > end:
            yield source[end : mention.start()], None
        site, _, identifier = PAPERS.get(mention[0], mention[0]).partition(":")
        yield mention[0], _SITES[site] + identifier
        end = mention.end()
    if end < len(source):
        yield source[end:], None
