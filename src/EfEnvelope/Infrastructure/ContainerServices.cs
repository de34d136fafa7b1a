using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.DependencyInjection;

namespace EfEnvelope.Infrastructure;

/// <summary>
/// Services of the application's container that a runtime keeps. A runtime outlives every scope, and its identity must not change with one: so each service is resolved once for the
/// container, in a scope that lives as long as the container, whatever lifetime it is registered with.
/// </summary>
internal sealed class ContainerServices(IServiceProvider services)
{
    private static readonly ConditionalWeakTable<IServiceScopeFactory, ContainerServices> Containers = [];

    private readonly ConcurrentDictionary<Type, Lazy<object?>> _services = new();

    public static object? Find(IServiceProvider? scope, Type type)
    {
        if (scope is null)
        {
            return null;
        }

        // The scope factory is the container's own singleton: scopes of one container share it.
        return scope.GetService(typeof(IServiceScopeFactory)) is IServiceScopeFactory factory
            ? Containers.GetValue(factory, static f => new ContainerServices(f.CreateScope().ServiceProvider)).Find(type)
            : scope.GetService(type);
    }

    private object? Find(Type type)
    {
        try
        {
            return _services.GetOrAdd(type, t => new Lazy<object?>(() => services.GetService(t))).Value;
        }
        catch
        {
            _services.TryRemove(type, out _);
            throw;
        }
    }
}
