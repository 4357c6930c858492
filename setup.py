"""Packaging of tricks_plugin: pins are in requirements/, tools' settings in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# Where OpenMMLab's tools look for a package's configs and scripts.
MIM_FOLDERS = ('configs', 'tools')


class BuildWithMim(build_py):
    """Adds `tricks_plugin/.mim/`: copies in a wheel, links in an editable install."""

    def run(self) -> None:
        """Builds the package, then adds the folders."""
        super().run()
        editable = getattr(self, 'editable_mode', False)
        target = (ROOT if editable else Path(self.build_lib)) / 'tricks_plugin' / '.mim'
        if target.is_dir():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        for name in MIM_FOLDERS:
            if not (ROOT / name).is_dir():
                continue
            if editable:
                (target / name).symlink_to(Path('..', '..', name), target_is_directory=True)
            else:
                shutil.copytree(ROOT / name, target / name,
                                ignore=shutil.ignore_patterns('__pycache__', '*.py[co]'))


def read_version() -> str:
    """The version, from the one place that holds it."""
    names: dict[str, str] = {}
    exec((ROOT / 'tricks_plugin' / 'version.py').read_text(), names)
    return names['__version__']


def read_readme() -> str:
    """The long description."""
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.exists() else ''


setup(
    name='tricks_plugin',
    version=read_version(),
    description='The training tricks that papers rely on, for mmdet and timm, by one option',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['tricks_plugin', 'tricks_plugin.*']),
    package_data={'tricks_plugin': ['py.typed'], '': ['README.md'],
                  'tricks_plugin.ablate.report': ['templates/*']},
    include_package_data=False,
    python_requires='>=3.10,<3.13',
    entry_points={'console_scripts': ['tricks=tricks_plugin.cli:main']},
    install_requires=['numpy', 'torch>=2.1', 'rich'],
    extras_require={
        'onedl': [
            'torchvision',
            'onedl-mmcv>=2.3,<2.4',
            'onedl-mmengine>=0.10.10,<0.11',
            'onedl-mmdetection>=3.5,<3.6',
        ],
        'openmmlab': [
            'torch>=2.1,<2.2',
            'torchvision>=0.16,<0.17',
            'numpy<2',
            'opencv-python<4.11',
            'mmcv>=2.1,<2.2',
            'mmengine>=0.10,<0.11',
            'mmdet>=3.3,<3.4',
        ],
        # Pillow 13 refuses to posterize to 0 bits, which timm's RandAugment asks for.
        'timm': ['timm>=1.0.31,<2', 'torchvision', 'pyyaml', 'pillow<13'],
        # scipy 1.15 is the first whose bootstrap takes `rng`.
        'ablate': ['scipy>=1.15', 'jinja2', 'matplotlib'],
        'slurm': ['submitit>=1.5'],
        'dev': ['pytest', 'pytest-xdist', 'hypothesis',
                'ruff', 'mypy', 'types-PyYAML', 'scikit-learn',
                'matplotlib'],
    },
    cmdclass={'build_py': BuildWithMim},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    zip_safe=False,
)
